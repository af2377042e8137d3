"""forecastkit export: a fitted network as a folder that runs without forecastkit."""

from __future__ import annotations

from pathlib import Path

import click

from forecastkit.cli import console, options
from forecastkit.errors import counted


@click.command("export", context_settings={"help_option_names": ["--help"]})
@click.argument("model")
@click.option("-o", "--output", metavar="FOLDER", required=True, help="Where the bundle goes.")
@click.option("--variant", default="onnx", show_default=True, help="onnx, or onnx-int8 for an lstm.")
@options.levels_option
@options.json_option
def command(model: str, output: str, variant: str, levels: tuple[float, ...], as_json: bool) -> None:
    """Write the fitted MODEL as an edge bundle.

    MODEL is a folder that `fit` wrote. The bundle is an ONNX file, a manifest and a small script, predict.py, which
    needs numpy and onnxruntime only. Levels are fixed here, and the horizon is the one that the network was fitted for.

    \b
    Example: forecastkit export models/gru --output bundle --levels 0.1,0.5,0.9
    """
    from forecastkit.models import restore
    from forecastkit.store import check_writable

    fitted = restore(model)
    place = Path(output)
    check_writable(place)
    if place.exists():
        from forecastkit.nn.bundle import check_place

        check_place(place)
    predictor = fitted.compile(variant, levels=levels)
    predictor.export(place)
    parity = predictor.parity
    facts = {
        "model": predictor.fitted.recipe.name,
        "variant": predictor.variant,
        "folder": output,
        "horizon": predictor.horizon,
        "levels": list(predictor.levels),
        "parity": {"largest": parity.largest, "median": parity.median, "error": parity.error},
    }
    if as_json:
        console.print_json(facts)
    else:
        console.say(
            f"{output}: {facts['model']} for {counted(predictor.horizon, 'period')}; forecasts differ by at most "
            f"{parity.largest:.1e} of their size from the model's own"
        )
