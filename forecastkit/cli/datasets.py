"""forecastkit datasets: real demand to try things on."""

from __future__ import annotations

import click

from forecastkit.cli import console, options


@click.command("datasets", context_settings={"help_option_names": ["--help"]})
@options.json_option
def command(as_json: bool) -> None:
    """List the data sets that `dataset:NAME` stands for.

    Files in the folder $FORECASTKIT_DATA are listed too.

    \b
    Example: forecastkit datasets --json
    """
    from dataclasses import asdict

    from forecastkit.data import datasets

    rows = [asdict(datasets.describe(name)) for name in datasets.names()]
    if as_json:
        console.print_json(rows)
    else:
        console.print_table(list(rows[0]), [list(row.values()) for row in rows])
