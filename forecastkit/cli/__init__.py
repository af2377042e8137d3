"""The command `forecastkit`: one file a command; the only place that prints, reads flags or sets up logging."""

from __future__ import annotations

import logging
import os
import sys
import traceback

import click

from forecastkit import __version__, errors
from forecastkit.cli import (
    backtest,
    bench,
    check,
    datasets,
    explain,
    export,
    fit,
    forecast,
    models,
    promote,
    registry,
    report,
    tune,
)

COMMANDS = (
    check.command,
    backtest.command,
    report.command,
    tune.command,
    fit.command,
    forecast.command,
    explain.command,
    export.command,
    bench.command,
    promote.command,
    registry.command,
    models.command,
    datasets.command,
)
INTERRUPTED = 130


@click.group(commands={str(c.name): c for c in COMMANDS}, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="forecastkit")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr, and let the libraries speak too.")
def root(verbose: bool) -> None:
    """Demand forecasting: from a table of demand to an honest leaderboard, and to the forecast.

    \b
    Example: forecastkit backtest dataset:demo --horizon 28 -m naive -m seasonal_naive
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s: %(message)s")
    logging.getLogger("forecastkit").setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose and not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")


def main() -> None:
    """Run a command and end with its exit code; what is said to a person goes to stderr."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of a command line: 0 done, 2 usage, 3 data, 4 extra, 5 fit, 6 store, 70 our bug, 130 Ctrl-C."""
    try:
        return root.main(arguments, prog_name="forecastkit", standalone_mode=False, obj=tuple(arguments)) or 0
    except errors.ForecastkitError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the reader (head, less) has seen enough; click ends that with an exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush into
        return 0
    except Exception:  # noqa: BLE001 - the last line of the program
        traceback.print_exc()
        click.echo("this is a bug in forecastkit or in a model: please report it with the lines above", err=True)
        return 70
