"""The command line: one file per command, imported when it is called.

Exit codes: 0 done; 1 an error of no other kind (doctor: not ready); 2 wrong usage; 3 a file that
cannot be read or written; 4 a session that cannot be used; 5 nothing to recover; 6 the lab failed;
130 interrupted. They are the ``exit_code`` of the classes in :mod:`tracekit.errors`.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from tracekit.cli import common
from tracekit.cli.printed.streams import (
    discard_output,
    mask_writing,
    prepare_streams,
    reader_is_gone,
)
from tracekit.errors import SourceError, TracekitError, explained
from tracekit.interpreter import settle
from tracekit.text import printable

__all__ = ["cli", "main"]

# name -> the line in `tracekit --help`; the module of that name (- is _) holds `command`
_COMMANDS = {
    "demo": "Show the report of a real handover that ships with tracekit.",
    "doctor": "Is this machine ready to be recorded through a kexec?",
    "setup": "Show or install the kernel command line and the systemd units.",
    "record": "Record until Ctrl-C or the kexec, with probes on its path.",
    "handover": "Record, load the next kernel, take the last snapshot, jump.",
    "snapshot": "Before the jump: save what is needed to decode this boot later.",
    "recover": "After the jump: fetch the preserved recording into the session.",
    "kho": "What KHO costs, carries and hands over, here or in a session.",
    "show": "Browse a session in the terminal: story, timeline, events.",
    "report": "Where did the blackout go, and is the record complete?",
    "blame": "What took how long: devices, initcalls, units, the slowest first.",
    "critical-chain": "What the blackout waited for, link by link, with evidence.",
    "compare": "Two handovers, or two sets of them, beside each other: what differs.",
    "check": "Hold sessions against a budget: exit code 1 where it is not held.",
    "fleet": "Many sessions in one dataset: percentiles, outliers, trends.",
    "plot": "Draw what ran when as an SVG picture.",
    "events": "Stream the events of a session as text, kernel text or JSON.",
    "stats": "Count, total, p99 and worst instance of a selection, by what you say.",
    "states": "What tasks did and CPUs ran: running, runnable, asleep, and how.",
    "latency": "How long tasks waited for a CPU after they were woken, and who woke them.",
    "calls": "Where the function graph's time went, as a tree or for a flame graph.",
    "export": "Write the timeline as CSV, Parquet, Perfetto or trace.dat.",
    "import": "Make a session of trace-cmd's trace.dat.",
    "sql": "Ask a session in SQL: a query, or a prompt.",
    "lab": "Real handovers in QEMU, without risking a machine.",
    "completion": "Print the completion script for your shell.",
}

# the module of a command, where it is not the one beside this of its name
_MODULES = {
    "blame": "answers.blame",
    "calls": "analysis.calls",
    "check": "runs.check",
    "compare": "runs.compare",
    "critical-chain": "answers.critical_chain",
    "fleet": "runs.fleet",
    "import": "doors.import_session",
    "kho": "answers.kho",
    "latency": "analysis.latency",
    "plot": "answers.plot",
    "sql": "answers.sql",
    "states": "analysis.states",
    "stats": "analysis.stats",
}

_EPILOG = """\b
A kexec, recorded:
  tracekit doctor                                      is this machine ready?
  tracekit handover --kernel IMG --initrd I -o SESSION records it, and jumps
  tracekit recover                                     in the new kernel
  tracekit report SESSION                              anywhere, without root
The same in QEMU, risking nothing:
  tracekit lab build; tracekit lab run -o SESSION

Exit codes: 0 done, 1 error or not ready, 2 usage, 3 a file that cannot be read
or written, 4 unusable session, 5 nothing to recover, 6 the lab failed,
130 interrupted."""


class _Commands(click.Group):
    """Knows the commands' names; imports a command only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"{__name__}.{module}").command
        if not any(p.name == "verbose" for p in command.params):
            command.params += common.talk_options()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"tracekit {version('kexec-tracekit')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A flight recorder for kexec: what every CPU did up to the jump, and where the"
    " blackout went.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def cli() -> None:
    """The group behind the ``tracekit`` command."""


cli.params += common.talk_options()


def _fail(error: TracekitError) -> int:
    if common.talk.verbose:
        import traceback

        click.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
    click.secho("tracekit: ", fg="red", bold=True, nl=False, err=True)
    click.echo(printable(str(error)), err=True)
    return error.exit_code


class _Terminated(BaseException):
    """SIGTERM or SIGHUP: unwind, so that nothing half-written is left behind."""


def _terminate(number: int, _: object) -> None:
    raise _Terminated(number)


def _fail_for(error: OSError) -> int:
    """A call that failed, which no other place explains; 0 if nobody reads the output any more."""
    discard_output()
    if reader_is_gone():
        return 0
    where = f"{error.filename}: " if error.filename else ""
    wrapped = SourceError(f"{where}{error.strerror or error}")
    wrapped.__cause__ = error
    return _fail(wrapped)


def main(args: Sequence[str] | None = None) -> Any:
    """Run the command line; the one place where errors are caught. Returns the exit code."""
    common.talk.quiet = common.talk.verbose = False
    settle()
    mask_writing()
    if args is None:
        prepare_streams()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminate)
    try:
        cli.main(args, prog_name="tracekit", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        click.echo("tracekit: interrupted", err=True)
        return 130
    except _Terminated as ended:
        return 128 + int(ended.args[0])
    except SystemExit as ended:  # click's: 0 after completing words, 1 for EPIPE of any pipe
        if not ended.code:
            discard_output()
            return 0
        broken = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        broken.__cause__ = ended
        return _fail_for(broken)
    except click.ClickException as wrong:
        shown = io.StringIO()
        wrong.show(shown)
        click.echo(printable(shown.getvalue()), err=True, nl=False)
        return wrong.exit_code
    except TracekitError as error:
        return _fail(error)
    except OSError as error:
        return _fail_for(error)
    except (MemoryError, RuntimeError, ImportError) as error:
        known = explained(error)
        if known is None:
            raise
        known.__cause__ = error
        return _fail(known)
    return 0
