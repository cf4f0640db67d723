"""``tracekit events``: stream the events of a session."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import click

import tracekit
from tracekit.cli.common import progress, say
from tracekit.cli.filters import build_filter, filter_options
from tracekit.errors import UsageError
from tracekit.text import printable

__all__ = ["command"]


def _write(blocks: Iterable[bytes], total: int) -> None:
    written = 0
    with progress("writing events", total) if not sys.stdout.isatty() else nullcontext() as advance:
        for block in blocks:
            sys.stdout.buffer.write(block)
            lines = block.count(b"\n")
            written += lines
            if advance is not None:
                advance(lines)
    sys.stdout.buffer.flush()
    if not written:
        say("no event matches")


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
def command(session: str, form: str, instance: str | None, **filters: Any) -> None:
    """Stream the events of SESSION, oldest first.

    \b
    The last 5 ms of CPU 0 before the jump:
      tracekit events SESSION --cpu 0 --from -5ms --to 0
    Every exec, as JSON:
      tracekit events SESSION --event sched_process_exec --format json
    By column and by argument:
      tracekit events SESSION --where 'event ~ sched_* and prev_comm = kexec and cpu = 0'
      tracekit events SESSION --where 'duration_ns > 10ms or (prev_state = D and ts > -1s)'
    """
    wanted = build_filter(**filters)
    recording = tracekit.open(session, instance)
    from tracekit.export.json_lines import json_blocks
    from tracekit.export.text import kernel_blocks, text_blocks

    if instance is not None and not recording.buffers:
        raise UsageError(f"--instance {instance}: the session has no buffer of this instance")
    if form == "json":
        blocks = json_blocks(recording, wanted)
    elif form == "text" or sys.stdout.isatty():  # a pager behind a pipe shows it on a terminal, too
        write = kernel_blocks if form == "kernel" else text_blocks
        blocks = write(recording, wanted, clean=printable)
    else:
        blocks = kernel_blocks(recording, wanted)
    _write(blocks, len(recording))
