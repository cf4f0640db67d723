"""``tracekit report``: where the blackout went, as text, JSON, a page or metrics."""

from __future__ import annotations

import json
from pathlib import Path

import click

import tracekit
from tracekit.cli.common import clean_console, say, working

__all__ = ["command", "print_report"]

_FILE_WIDTH = 140


def print_report(session: str, as_json: bool) -> None:
    """Write the report of the session at ``session`` to stdout."""
    with working("decoding"):
        report = tracekit.open(session).report()
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
        return
    from tracekit.cli.printed.report_text import render_report

    console = clean_console()
    if not console.is_terminal:  # a file or a pipe has no width to fit
        console.width = _FILE_WIDTH
    render_report(report, console)


def _write_page(session: str, target: Path) -> None:
    from tracekit.drawing.page import page
    from tracekit.export.files import write_text

    with working("decoding"):
        text = page(tracekit.open(session))
    write_text(text, target)
    say(f"wrote {target}: {len(text.encode()):,} bytes")


@click.command("report")
@click.argument("session", type=click.Path(readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@click.option(
    "--html", "html", type=click.Path(path_type=Path), metavar="FILE",
    help="Write one self-contained page, to attach to a ticket.",
)  # fmt: skip
def command(session: str, as_json: bool, html: Path | None) -> None:
    """Where did the blackout of SESSION go, and is the record complete?

    Shows gap and blackout with their error, the phases of each handover, the slowest devices,
    initcalls and systemd units, what every CPU recorded and lost, what was not probed, the last
    events before the jump, and what was remarked on.
    """
    if html is not None:
        _write_page(session, html)
        return
    print_report(session, as_json)
