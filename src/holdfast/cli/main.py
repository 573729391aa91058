"""Entry point of the `holdfast` command: its groups, its exit statuses, and no traceback for what a person did.

Each command imports what it needs when it is called, so that a quick question gets a quick answer.
Exit status: 0 all well, 1 something failed, 2 the input is wrong, 3 the machine lacks something,
130 interrupted.
"""

import os
import sys

import typer

from holdfast.cli import describe, locking, operate, running, status, tune, why
from holdfast.errors import HoldfastError

INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C has ended."""
TRACEBACK = "HOLDFAST_TRACEBACK"
"""With this in the environment an error of the operating system is shown with its traceback."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep network functions in service when a process, a VM or a host fails.",
)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Show the version and end."),
) -> None:
    if version:
        from holdfast import __version__

        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


for group in (describe, running, status, why, operate, locking, tune):
    group.register(app)


def _with_groups() -> None:
    """Lab and bench are groups of commands of their own, loaded when they are asked for."""
    asked = sys.argv[1:2]
    if asked in ([], ["--help"], ["lab"]):
        from holdfast.cli import lab

        app.add_typer(lab.app, name="lab")
    if asked in ([], ["--help"], ["bench"]):
        from holdfast.cli import bench

        app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line; end the process with its exit status."""
    try:
        _with_groups()
        app(prog_name="holdfast")
    except HoldfastError as error:
        _say(error.message, error.hint)
        raise SystemExit(error.exit_status) from None
    except OSError as error:
        if TRACEBACK in os.environ:
            raise
        about = f"{error.filename}: " if error.filename else ""
        _say(f"{about}{(error.strerror or str(error)).lower()}", f"{TRACEBACK}=1 shows where it happened")
        raise SystemExit(HoldfastError.exit_status) from None
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        _say("interrupted", "")
        raise SystemExit(INTERRUPTED) from None


def _say(message: str, hint: str) -> None:
    sys.stderr.write(f"holdfast: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
