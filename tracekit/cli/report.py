"""``tracekit report``: where the blackout went, as text, JSON, a page or metrics."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import tracekit
from tracekit.cli.common import clean_console, say, working
from tracekit.cli.kept import printed
from tracekit.documents import document_json
from tracekit.errors import SourceError, UsageError
from tracekit.session import Session

__all__ = ["command", "print_report"]

_FILE_WIDTH = 140


def print_report(session: str, as_json: bool) -> None:
    """Write the report of the session at ``session`` to stdout."""
    recorded = Session.open(session)
    sys.stdout.write(_json(recorded) if as_json else _text(recorded))


def _text(session: Session) -> str:
    console = clean_console()
    if not console.is_terminal:  # a file or a pipe has no width to fit
        console.width = _FILE_WIDTH

    def render() -> str:
        with working("decoding"):
            report = tracekit.open(session).report()
        from tracekit.cli.printed.report_text import render_report

        with console.capture() as captured:
            render_report(report, console)
        return captured.get()

    form = f"text {console.width} {console.color_system} {console.encoding} {console.no_color}"
    return printed(session, form, render)


def _json(session: Session) -> str:
    def document() -> str:
        with working("decoding"):
            return document_json(tracekit.open(session).report().as_dict()) + "\n"

    return printed(session, "json", document)


def _write_page(session: str, target: Path) -> None:
    from tracekit.drawing.page import page
    from tracekit.export.files import write_text
    from tracekit.export.targets import check_target

    check_target(target, "html")  # before anything is decoded
    with working("decoding"):
        text = page(tracekit.open(session))
    write_text(text, target, "html")
    if str(target) == "-":
        return
    say(f"wrote {target}: {len(text.encode()):,} bytes")


def _form(session: str, form: str) -> str:
    """The report as text of another tool's form."""
    if form == "json":
        return _json(Session.open(session))
    with working("decoding"):
        recording = tracekit.open(session)
        report = recording.report()
    if form == "openmetrics":
        from tracekit.report.forms.openmetrics import openmetrics

        return openmetrics(report)
    from tracekit.report.critical.blame import blame
    from tracekit.report.forms.otlp import WallTime, otlp

    newest = max(recording.walls, default=None)
    wall = None if newest is None else recording.walls[newest]
    if wall is None:
        say("no wall clock of this session is known: the spans count from 1970")
    when = WallTime(wall.offset_ns, wall.error_ns, wall.basis) if wall is not None else None
    made_by = recording.session.manifest.tool_version
    return otlp(report, blame(recording, report), recording.session.fingerprint, when, made_by)


def _make_readable(folder: Path) -> None:
    """Make a folder that others may read, unless it is there; what is above has to be."""
    try:
        folder.mkdir()
        folder.chmod(0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise SourceError(f"{folder}: cannot be made: {error.strerror}") from error


def _write_form(session: str, form: str, output: Path | None) -> None:
    from tracekit.export.files import write_text
    from tracekit.export.targets import Form, check_target

    output = output or Path("-")
    kind: Form = "openmetrics" if form == "openmetrics" else "json"
    check_target(output, kind)  # before anything is decoded
    text = _form(session, form)
    if str(output) == "-":
        write_text(text, output, kind)
        return
    if form == "openmetrics":
        _make_readable(output.parent)
    write_text(text, output, kind)
    if form == "openmetrics" and output.is_file():
        output.chmod(0o644)  # node_exporter runs as another user
    say(f"wrote {output}: {len(text.encode()):,} bytes")


def _recovered() -> str:
    from tracekit.capture.cmdline.session_param import recovered_session
    from tracekit.sysroot import Sysroot

    root = Sysroot("/")
    if root.exists("proc/vmcore"):
        raise UsageError("a crash kernel has no memory to spare: report from the next one")
    return str(recovered_session(root))


@click.command("report")
@click.argument("session", type=click.Path(readable=False), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@click.option(
    "--html", "html", type=click.Path(path_type=Path), metavar="FILE",
    help="Write one self-contained page, to attach to a ticket.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "openmetrics", "otlp"]), default="text",
    help="As metrics for node_exporter's textfile collector, or as OpenTelemetry spans.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Where a --format goes. Default: stdout.",
)  # fmt: skip
@click.option("--recovered", is_flag=True, help="Of the session this boot was recovered into.")
def command(
    session: str | None,
    as_json: bool,
    html: Path | None,
    form: str,
    output: Path | None,
    recovered: bool,
) -> None:
    """Where did the blackout of SESSION go, and is the record complete?

    Shows gap and blackout with their error, the phases of each handover, the slowest devices,
    initcalls and systemd units, what every CPU recorded and lost, what was not probed, the last
    events before the jump, and what was remarked on.

    \b
      tracekit report SESSION
      tracekit report SESSION --html report.html
      tracekit report SESSION --format openmetrics -o /var/lib/prometheus/node-exporter/kexec.prom
      tracekit report SESSION --format otlp | curl -d @- -H 'Content-Type: application/json' URL
    """
    if (session is None) != recovered:
        raise UsageError("name a SESSION, or --recovered for that of this boot")
    if html is not None and (as_json or form != "text" or output is not None):
        raise UsageError("--html FILE is all of it: --json, --format and -o are other outputs")
    session = session or _recovered()
    form = "json" if as_json else form
    if html is not None:
        _write_page(session, html)
    elif form == "text" and output is not None:
        raise UsageError("-o goes with --format json, openmetrics or otlp; text goes to stdout")
    elif form == "text":
        print_report(session, False)
    else:
        _write_form(session, form, output)
