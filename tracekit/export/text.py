"""Events as lines: tracekit's own text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy.typing as npt

from tracekit.export.lines import (
    SIGNED_SECONDS,
    Piece,
    coded_texts,
    combined,
    join_lines,
)
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.ftrace.printers.trace_file import (
    latency_flags,
)
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.when.dates import utc

__all__ = ["text_blocks"]

_KERNEL_ROWS = 1 << 17  # at a time: an event's records are printed together
_TGID = re.compile(r"^(\d{1,9}) (\d{1,9})$", re.M)


def _same(text: str) -> str:
    return text


def text_blocks(
    recording: Recording,
    wanted: Filter,
    clean: Callable[[str], str] = _same,
    *,
    wall: bool = False,
) -> Iterator[Piece]:
    """One line per event, many in a block.

    Seconds from the jump, boot and CPU, task, flags, ``system:name`` and arguments; with ``wall``
    the time of day (UTC) in front. Recorded texts go through ``clean``.
    """
    for rows, table in recording.batches(wanted):
        columns = recording.rows.take(rows)
        codes, firsts = combined(
            columns.boot, columns.cpu, columns.pid, columns.flags, columns.preempt, columns.kind
        )
        some = table.select(["boot", "cpu", "pid", "comm", "event", "flags", "preempt"])
        heads = [clean(_head(**row)) for row in some.take(as_arrow(firsts)).to_pylist()]
        args = table["args"].combine_chunks()
        tails = [clean(text) for text in args.dictionary.to_pylist()]
        if wall:
            coded = as_numpy(args.indices), tails
            yield _with_wall_time(recording, rows, (codes, heads), coded)
        else:
            tail = coded_texts(as_numpy(args.indices), tails)
            head = coded_texts(codes, heads)
            yield join_lines(SIGNED_SECONDS, recording.axis.ts_ns[rows], head, tail)


_UNKNOWN_TIME = "unknown".ljust(len("2026-11-28T20:38:25.123456789Z"))


def _with_wall_time(
    recording: Recording,
    rows: npt.NDArray[Any],
    head: tuple[npt.NDArray[Any], Sequence[str]],
    tail: tuple[npt.NDArray[Any], Sequence[str]],
) -> bytes:
    lines = []
    columns = (recording.axis.ts_ns[rows], recording.rows.boot[rows], head[0], tail[0])
    for ns, boot, one, other in zip(*(c.tolist() for c in columns), strict=True):
        clock = recording.walls.get(boot)
        time = _UNKNOWN_TIME if clock is None else utc(ns + clock.offset_ns) or _UNKNOWN_TIME
        seconds, part = divmod(abs(ns), 10**9)
        sign = "-" if ns < 0 else "+"
        lines.append(f"{time} {f'{sign}{seconds}':>5}.{part:09d}{head[1][one]}{tail[1][other]}\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


def _head(**row: Any) -> str:
    """What stands between the time and the arguments."""
    task, state = (
        f"{row['comm'] or '<...>'}-{row['pid']}",
        latency_flags(row["flags"], row["preempt"]),
    )
    return f" {row['boot']}:{row['cpu']:03d} {task:<22} {state} {row['event']} "
