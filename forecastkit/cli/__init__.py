"""The command `forecastkit`: one file a command; the only place that prints, reads flags or sets up logging."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import sys
import traceback
from contextlib import suppress

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

_FULL = (errno.ENOSPC, errno.EDQUOT)
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
    _end(run(sys.argv[1:]))


def _end(code: int) -> None:
    """Leave what libraries have loaded as it is.

    Taking it down costs up to a second, and on a busy machine a thread that Arrow had just started then aborts the
    process, whatever its exit code was to be.
    """
    atexit._run_exitfuncs()  # temporary folders of libraries go
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # said by `run` where it matters
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of a command line: 0 done, 2 usage, 3 data, 4 extra, 5 fit, 6 store, 70 our bug, 130 Ctrl-C."""
    try:
        code = root.main(arguments, prog_name="forecastkit", standalone_mode=False, obj=tuple(arguments)) or 0
        sys.stdout.flush()  # here, where what can't be written is still said
        return code
    except (errors.ForecastkitError, click.ClickException) as error:
        if isinstance(error, click.ClickException):
            error.show()
        else:
            click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the reader (head, less) has seen enough; click ends that with an exit
        _hush()
        return 0
    except OSError as error:
        return _unwritten(error)
    except Exception:  # noqa: BLE001 - the last line of the program
        return _bug()


def _unwritten(error: OSError) -> int:
    """Where stdout is a file on a full disk; files of our own are `StoreError` by then."""
    if error.errno not in _FULL:
        return _bug()
    _hush()
    click.echo(f"error: what was found can't be written: {error.strerror}; -o FILE keeps an old file whole", err=True)
    return errors.StoreError.exit_code


def _bug() -> int:
    traceback.print_exc()
    click.echo("this is a bug in forecastkit or in a model: please report it with the lines above", err=True)
    return 70


def _hush() -> None:
    """Nothing more is flushed into a stdout that takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
