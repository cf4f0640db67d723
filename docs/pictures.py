"""Draws docs/report.svg, the README's picture, from the handover that ships: `make pictures`."""

from __future__ import annotations

from importlib.resources import files
from io import StringIO
from pathlib import Path

from rich.console import Console

import tracekit
from tracekit.cli.show_report import render_report


def main() -> None:
    """Write docs/report.svg."""
    console = Console(record=True, width=100, file=StringIO(), force_terminal=True, highlight=False)
    report = tracekit.open(files("tracekit") / "demo" / "handover.tar.zst").report()
    render_report(report, console)
    title = "tracekit report: a kexec from Linux 7.2.13 to 7.3.4"
    svg = console.export_svg(title=title, unique_id="report")
    Path(__file__).with_name("report.svg").write_text(svg)


if __name__ == "__main__":
    main()
