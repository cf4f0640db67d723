"""``tracekit events``: stream the events of a session."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

import tracekit
from tracekit.cli.common import progress, say, shows_progress
from tracekit.cli.filters import build_filter, filter_options
from tracekit.cli.kept import events_of
from tracekit.errors import UsageError
from tracekit.session import Session
from tracekit.text import error_bound, printable

if TYPE_CHECKING:
    from tracekit.export.lines import Piece
    from tracekit.recording import Recording
    from tracekit.timeline.filter import Filter

__all__ = ["command"]


def _write(blocks: Iterable[Piece], total: int) -> None:
    written = 0
    bar = shows_progress() and not sys.stdout.isatty()
    with progress("writing events", total) if bar else nullcontext() as advance:
        for block in blocks:
            sys.stdout.buffer.write(block)
            written += len(block)
            if advance is not None:
                advance(bytes(block).count(b"\n"))
    sys.stdout.buffer.flush()
    if not written:
        say("no event matches")


def _blocks(recording: Recording, wanted: Filter, form: str, *, wall: bool) -> Iterable[Piece]:
    """What is printed; what makes another form is not imported."""
    if form == "json":
        from tracekit.export.json_lines import json_blocks

        return json_blocks(recording, wanted, wall=wall)
    if form == "text":
        from tracekit.export.text import text_blocks

        return text_blocks(recording, wanted, wall=wall, clean=printable)
    from tracekit.export.kernel_text import kernel_blocks

    if sys.stdout.isatty():  # a pager behind a pipe shows it on a terminal, too
        return kernel_blocks(recording, wanted, clean=printable)
    return kernel_blocks(recording, wanted)


def _say_clocks(recording: Recording) -> None:
    """How exact the time of day is in each boot, or why it is unknown."""
    from tracekit.timeline.when.boot_times import boot_times

    for time in boot_times(recording.axis, recording.boots, recording.rows):
        known = f"UTC {error_bound(time.error_ns)}, by" if time.first else "time of day unknown:"
        say(f"boot {time.boot}: {known} {time.basis}")


def _say_evaluated(recording: Recording) -> None:
    """Which events were printed record by record."""
    some = {id(r.printed): r.printed for r in (recording, recording.as_traced)}.values()
    for name, count in sum((p.evaluated for p in some), Counter[str]()).most_common():
        of = sum(p.records[name] for p in some)
        say(f"{name}: {count:,} of {of:,} texts without a program")


@click.command("events")
@click.argument("session", type=click.Path(readable=False))
@filter_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "kernel", "json"]),
    default="text",
    show_default=True,
    help="text: seconds from the jump; kernel: as the kernel's own trace file, in a pipe byte for"
    " byte; json: one object a line, with typed fields.",
)
@click.option(
    "--instance",
    metavar="NAME",
    help="Only the buffer of this trace instance (global: the global one), by its own clock.",
)
@click.option(
    "--time",
    type=click.Choice(["jump", "wall"]),
    default="jump",
    show_default=True,
    help="wall: with the time of day (UTC) in front of the seconds from the jump, in JSON as time"
    " and time_error_ns.",
)
@click.option(
    "--evaluated",
    is_flag=True,
    help="Say at the end which events' texts the compiled programs did not make, and how many.",
)
def command(
    session: str, form: str, instance: str | None, time: str, evaluated: bool, **filters: Any
) -> None:
    """Stream the events of SESSION, oldest first.

    \b
    The last 5 ms of CPU 0 before the jump:
      tracekit events SESSION --cpu 0 --from -5ms --to 0
    Every exec, as JSON:
      tracekit events SESSION --event sched_process_exec --format json
    One phase, and the time of day:
      tracekit events SESSION --from 'device shutdown' --to 'device shutdown' --time wall
      tracekit events SESSION --from '2026-11-28 20:38:25' --cpu 0,2-3 --event 'irq:*,sched_switch'
    By column and by argument:
      tracekit events SESSION --where 'event ~ sched_* and prev_comm = kexec and cpu = 0'
      tracekit events SESSION --where 'duration_ns > 10ms or (prev_state = D and ts > -1s)'
    """
    wanted, wall = build_filter(**filters), time == "wall"
    if wall and form == "kernel":
        raise UsageError("--time wall: the kernel's own trace file has no time of day; use text")
    alone = form == "kernel" or instance is not None
    recording = tracekit.open(session, instance) if alone else events_of(Session.open(session))
    if instance is not None and not recording.buffers:
        raise UsageError(f"--instance {instance}: the session has no buffer of this instance")
    if wall:
        _say_clocks(recording)
    _write(_blocks(recording, wanted, form, wall=wall), len(recording))
    if evaluated:
        _say_evaluated(recording)
