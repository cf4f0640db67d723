"""``tracekit blame``: what took how long, the slowest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import tracekit
from tracekit.cli.common import say, show, show_json, working

if TYPE_CHECKING:
    from tracekit.report.critical.blame import Blamed

__all__ = ["command"]

_WIDEST = 44  # cells of a name
_KINDS = ("device", "initcall", "unit", "notifier", "LUO step", "KHO step")


def _took(one: Blamed) -> tuple[str, str]:
    """(how long it took, how far that may be off)."""
    from tracekit.text import duration

    if not one.finished:
        return "never returned", ""
    if one.duration_ns is None:
        return "unknown", ""
    sign = "≤ " if one.at_most else ""
    error = "" if one.error_ns is None else f"± {duration(one.error_ns)}"
    return f"{sign}{duration(one.duration_ns)}", error


def _lines(things: list[Blamed], several: bool) -> list[str]:
    from tracekit.text import on_one_line

    cells = [
        (*_took(one), on_one_line(one.name), one.kind, on_one_line(one.phase),
         on_one_line(one.detail), one.boot)
        for one in things
    ]  # fmt: skip
    widths = [max((len(str(c[i])) for c in cells), default=0) for i in range(5)]
    widths[2] = min(widths[2], _WIDEST)
    lines = []
    for took, error, name, kind, phase, detail, boot in cells:
        where = f"boot {boot}  {phase:<{widths[4]}}" if several else f"{phase:<{widths[4]}}"
        line = (
            f"{took:>{widths[0]}} {error:>{widths[1]}}  {name:<{widths[2]}}  "
            f"{kind:<{widths[3]}}  {where}  {detail}"
        )
        lines.append(line.rstrip())
    return lines


@click.command("blame")
@click.argument("session", type=click.Path(readable=False))
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Only these; may be repeated.",
)
@click.option("--boot", type=int, metavar="N", help="Only this kernel of the session.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(session: str, kinds: tuple[str, ...], boot: int | None, as_json: bool) -> None:
    """List what took how long in SESSION, the slowest first.

    As 'systemd-analyze blame', for both kernels: every device's shutdown, initcall, unit, reboot
    notifier, and step of the live update orchestrator (LUO) and KHO that was recorded. After the
    time stands how far it may be off by its clock, then name, kind, boot, and the phase in which
    it began. What never returned comes first. ≤: its end was not recorded, only what began next.

    Times overlap, and not all of them were waited for: 'tracekit critical-chain' tells which.

    \b
      tracekit blame SESSION | head
      tracekit blame SESSION --kind device --boot 0
      tracekit blame SESSION --json | jq '.blame[] | select(.duration_ns > 1e8) | .name'
    """
    from tracekit.report.critical.blame import blame

    with working("decoding"):
        recording = tracekit.open(session)
        found = blame(recording, recording.report())
    wanted = {k for kind in kinds for k in (kind, f"{kind} chain")}
    things = [
        one for one in found
        if (not kinds or one.kind in wanted) and (boot is None or one.boot == boot)
    ]  # fmt: skip
    if as_json:
        show_json({"blame": [one.as_dict() for one in things]})
        return
    if not things:
        say("nothing of that was recorded: 'tracekit doctor' says which probes a machine can have")
        return
    show("\n".join(_lines(things, several=len(recording.boots) > 1)))
