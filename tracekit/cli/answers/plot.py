"""``tracekit plot``: what ran when, as one SVG picture."""

from __future__ import annotations

from pathlib import Path

import click

import tracekit
from tracekit.cli.common import say, working
from tracekit.errors import UsageError

__all__ = ["command"]


@click.command("plot")
@click.argument("session", type=click.Path(readable=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="The SVG file to write; - is stdout.",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Every call, not only the 40 slowest of a part.")
def command(session: str, output: Path, every: bool) -> None:
    """Draw what ran when in SESSION as an SVG picture, as 'systemd-analyze plot' does of a boot.

    The blackout to scale, both kernels' parts of it enlarged, and below, a row each: phases,
    devices, notifiers, initcalls and systemd's units. The picture is dark where the viewer is; the
    pointer on a bar tells what it is. 'tracekit report --html' has the same in one page with all
    else.

    \b
      tracekit plot SESSION -o boot.svg
    """
    from tracekit.drawing.plot import standalone
    from tracekit.export.files import write_text
    from tracekit.export.targets import check_target
    from tracekit.report.critical.blame import blame

    check_target(output, "svg")  # before anything is decoded
    with working("decoding"):
        recording = tracekit.open(session)
        report = recording.report()
    if not report.handovers:
        raise UsageError(
            f"{session}: one boot, no jump in this session: there is nothing to draw: "
            "'tracekit blame' lists what took how long"
        )
    svg = standalone(report, blame(recording, report), every=every)
    write_text(svg, output, "svg")
    if str(output) != "-":
        say(f"wrote {output}: {len(svg.encode()):,} bytes")
