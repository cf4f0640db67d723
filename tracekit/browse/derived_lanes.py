"""Lanes of what is derived from the events: spans by kind, a task's states, counters."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.columns import ints, labels, whole
from tracekit.analysis.counters import counter, counter_names
from tracekit.browse.lanes import Lane, Span
from tracekit.ftrace.columns import as_arrow
from tracekit.ftrace.columns import known as known_of
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

__all__ = ["derived_lane", "derived_names"]

_SPANS, _TASK = "spans ", "task "
_MOST = 100_000  # spans of a lane; the longest are kept
_TASKS = 40


def derived_names(recording: Recording) -> list[tuple[str, str]]:
    """(the name of a lane, what it is) of those that the record has something for.

    ``spans KIND`` for every kind of span, ``task PID@BOOT`` for the tasks that ran longest, and the
    counters under their names.
    """
    codes, kinds = labels(recording.analysis.spans(), "kind")
    counts = np.bincount(codes[codes >= 0], minlength=len(kinds))
    found = [
        (f"{_SPANS}{kind}", f"{count:,} spans, with their names")
        for kind, count in zip(kinds, counts.tolist(), strict=True) if count
    ]  # fmt: skip
    found += counter_names(recording, recording.analysis)
    times = recording.analysis.time_in_states().slice(0, _TASKS)
    columns = (times[name].to_pylist() for name in ("boot", "pid", "comm"))
    for boot, pid, comm in zip(*columns, strict=True):
        found.append((f"{_TASK}{pid}@{boot}", f"states of {comm or '<...>'}-{pid} in boot {boot}"))
    return found


def derived_lane(recording: Recording, name: str) -> Lane | None:
    """The lane that :func:`derived_names` calls so; None if there is none."""
    if name.startswith(_SPANS):
        return _of_kind(recording, name)
    if name.startswith(_TASK):
        pid, _, boot = name.removeprefix(_TASK).partition("@")
        if pid.isdecimal() and boot.isdecimal() and len(pid) < 11 and len(boot) < 4:
            return _of_task(recording, name, int(pid), int(boot))
    made = counter(recording, recording.analysis, name)
    return None if made is None else Lane(name, "counter", counter=made)


def _longest(took: npt.NDArray[Any]) -> npt.NDArray[Any]:
    at = np.arange(len(took))
    return np.sort(np.argpartition(took, -_MOST)[-_MOST:]) if len(took) > _MOST else at


def _of_kind(recording: Recording, name: str) -> Lane | None:
    table = recording.analysis.spans()
    codes, kinds = labels(table, "kind")
    kind = name.removeprefix(_SPANS)
    if kind not in kinds:
        return None
    known = known_of(whole(table, "start_ns"))
    table = table.filter(as_arrow((codes == kinds.index(kind)) & known))
    table = table.take(as_arrow(_longest(ints(table, "duration_ns"))))
    last = int(recording.axis.ts_ns[-1]) if len(recording) else 0
    spans = [
        Span(row["start_ns"], row["end_ns"] if row["end_ns"] is not None else last,
             str(row["name"]), kind, row["boot"], _note(row), row["state"] == "open")
        for row in table.to_pylist()
    ]  # fmt: skip
    return Lane(name, "spans", spans=_sorted(spans))


def _note(row: dict[str, object]) -> str:
    task = f"{row['comm'] or '<...>'}-{row['pid']}, CPU {row['cpu']}"
    cut = "; events were lost in it" if row["cut"] else ""
    return f"{task}, {row['state']}{'; its end is inferred' if row['inferred'] else ''}{cut}"


def _of_task(recording: Recording, name: str, pid: int, boot: int) -> Lane | None:
    wanted = Filter(boots=frozenset({boot}), pids=frozenset({pid}))
    table = recording.analysis.states(wanted)
    if not len(table):
        return None
    table = table.take(as_arrow(_longest(ints(table, "duration_ns"))))
    spans = []
    for row in table.to_pylist():
        by = f", woken by {row['waker_comm']}-{row['waker_pid']}" if row["waker_pid"] else ""
        where = "" if row["cpu"] is None else f"CPU {row['cpu']}"
        sure = ", inferred" if row["inferred"] else ""
        note = f"{where}{by}{sure}{', events were lost in it' if row['cut'] else ''}"
        spans.append(
            Span(
                row["start_ns"], row["end_ns"], row["state"], row["state"], boot, note.lstrip(", ")
            )
        )
    return Lane(name, "spans", spans=_sorted(spans))


def _sorted(spans: list[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda s: (s.start_ns, s.end_ns > s.start_ns, -s.end_ns)))
