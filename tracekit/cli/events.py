"""``tracekit events``: stream the events of a session."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import click

import tracekit
from tracekit.cli.common import printable, progress, say
from tracekit.cli.filters import build_filter, filter_options

__all__ = ["command"]

_LINES = 2000  # written at a time: a pipe's reader sees the first ones at once


def _write(lines: Iterable[str], total: int) -> None:
    source: Iterator[str] = iter(lines)
    written = 0
    with progress("writing events", total) if not sys.stdout.isatty() else nullcontext() as advance:
        while block := list(islice(source, _LINES)):
            sys.stdout.buffer.write("".join(block).encode("utf-8", "surrogateescape"))
            written += len(block)
            if advance is not None:
                advance(len(block))
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
    help="text: seconds from the jump; kernel: as the kernel's own trace file; json: one object"
    " a line, with typed fields.",
)
def command(session: str, form: str, **filters: Any) -> None:
    """Stream the events of SESSION, oldest first.

    \b
    The last 5 ms of CPU 0 before the jump:
      tracekit events SESSION --cpu 0 --from -5ms --to 0
    Every exec, as JSON:
      tracekit events SESSION --event sched_process_exec --format json
    """
    from tracekit.export.text import json_lines, kernel_lines, text_lines

    wanted = build_filter(**filters)
    recording = tracekit.open(session)
    if form == "json":
        _write((f"{line}\n" for line in json_lines(recording, wanted)), len(recording))
        return
    if form == "kernel":
        lines = kernel_lines(recording, wanted)
    else:
        lines = (f"{line}\n" for line in text_lines(recording, wanted))
    _write(map(printable, lines) if sys.stdout.isatty() else lines, len(recording))
