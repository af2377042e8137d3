"""forecastkit check: is this table fit to forecast from?"""

from __future__ import annotations

import click

from forecastkit.cli import console, options
from forecastkit.cli.options import Table


@click.command("check", context_settings={"help_option_names": ["--help"]})
@click.argument("data")
@options.table_options
@options.json_option
@options.config_option
def command(data: str, table: Table, as_json: bool) -> None:
    """Read DATA as every command does and say what is in it.

    That is its shape, frequency, gaps, lengths, zeros, negatives, and which covariates are text or have missing cells.

    What makes a table unusable (duplicates, mixed frequencies, text in numbers …) is said on stderr, with exit code 3.

    \b
    Example: forecastkit check dataset:demo
    """
    from forecastkit.data.screening import in_words, screen

    found = screen(table.read(data))
    if as_json:
        console.print_json(found)
    else:
        console.print_table(["what", "found"], in_words(found))
