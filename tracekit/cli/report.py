"""``tracekit report``: where the blackout went, as text or JSON."""

from __future__ import annotations

import click

import tracekit
from tracekit.cli.common import clean_console, show_json, working

__all__ = ["command", "print_report"]

_FILE_WIDTH = 140


def print_report(session: str, as_json: bool) -> None:
    """Write the report of the session at ``session`` to stdout."""
    with working("decoding"):
        report = tracekit.open(session).report()
    if as_json:
        show_json(report.as_dict())
        return
    from tracekit.cli.printed.report_text import render_report

    console = clean_console()
    if not console.is_terminal:  # a file or a pipe has no width to fit
        console.width = _FILE_WIDTH
    render_report(report, console)


@click.command("report")
@click.argument("session", type=click.Path(readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(session: str, as_json: bool) -> None:
    """Where did the blackout of SESSION go, and is the record complete?

    Shows gap and blackout with their error, the phases of each handover, the slowest devices,
    initcalls and systemd units, what every CPU recorded and lost, what was not probed, the last
    events before the jump, and what was remarked on.
    """
    print_report(session, as_json)
