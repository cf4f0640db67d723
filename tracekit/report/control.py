"""What was done to the tracers while they recorded, and what the buffers took in between.

Why a record has a hole, another clock or fewer events than expected is often answered by a write to
a file of tracefs. The BPF probes record it as ``tracefs:write`` and the like; without BPF there are
kprobe events of the same functions (:mod:`tracekit.probes.control`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter

__all__ = ["ControlChange", "control_changes"]

# event of BPF -> what was done
_DONE = {
    "tracefs:write": "write",
    "tracefs:truncate": "truncate",
    "tracefs:open": "open",
    "tracefs:close": "close",
    "ring_buffer:instance_mkdir": "mkdir",
    "ring_buffer:instance_rmdir": "rmdir",
}
_KPROBES = {
    "tracekit:tracefs_write": "write",
    "tracekit:tracefs_truncate": "truncate",
    "tracekit:tracefs_open": "open",
    "tracekit:tracefs_close": "close",
    "tracekit:instance_mkdir": "mkdir",
    "tracekit:instance_rmdir": "rmdir",
}
_DELTAS = "ring_buffer:deltas"
_PARENTS = ("in1", "in2", "in3", "in4", "in5")


@dataclass(frozen=True, slots=True)
class ControlChange:
    """One thing done through tracefs. ``ns`` is on the session's axis, None if no clock tells.

    ``done``: write, truncate, open, close, mkdir or rmdir. ``instance`` is '' for the top one, and
    ``file`` has its directory's name before it unless that is the instance's; both are '' where
    they do not apply. ``grown``: how many events the instance's buffer took since the reading
    before, None where there is no reading right behind this change; negative if it was emptied.
    """

    boot: int
    ns: int | None
    pid: int
    comm: str | None
    done: str
    instance: str
    file: str
    value: str
    grown: int | None = None


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    """(instance, file), as the BPF programs have them, from the names that a kprobe event has."""
    above = [str(row.get(name, "")) for name in _PARENTS]
    if "/" in above:
        above = above[: above.index("/")]
    path = [str(row.get("file", "")), *above]
    instance, own = "", path
    if len(path) > 2 and path[-1] == "instances":
        instance, own = path[-2], path[:-2]
    return instance, "/".join(reversed(own[:2]))


def _written(row: Mapping[str, Any]) -> str:
    """What a kprobe event shows of a write: the first ``count`` bytes of the task's ``buffer``."""
    text, count = row.get("buffer"), row.get("count")
    if text == "(fault)" or not isinstance(text, str) or not isinstance(count, int):
        return "(unread)" if text == "(fault)" else ""
    return text.encode()[:count].decode(errors="replace")


def _change(boot: int, done: str, row: Mapping[str, Any]) -> ControlChange:
    value = str(row.get("value", ""))
    if done in ("mkdir", "rmdir"):
        instance, file = str(row.get("instance", "")), ""
    elif "in1" in row:
        instance, file = _place(row)
        value = _written(row)
    else:
        instance, file = str(row.get("instance", "")), str(row.get("file", ""))
    return ControlChange(
        boot, row["ts_ns"], row["pid"], row["comm"], done, instance, file, value.rstrip("\n")
    )


def _rows(events: Events, boot: int, event: str) -> Iterator[dict[str, Any]]:
    if events.has_event(event, boot):
        table = events.event(event, Filter(boots=frozenset({boot})))
        for row in table.to_pylist():
            yield {**row, **{n: row.get(f"common_{n}", row[n]) for n in ("ts_ns", "pid", "comm")}}


def _grown(events: Events, boot: int) -> dict[str, list[tuple[int, int]]]:
    """Instance -> (when its counts were read, how many events they grew by), in order."""
    found: dict[str, dict[int, list[int]]] = {}
    for row in _rows(events, boot, _DELTAS):
        of = found.setdefault(str(row["instance"]), {})
        of.setdefault(row["ts_ns"], []).append(row["written_delta"])
    return {name: sorted((ns, sum(d)) for ns, d in of.items()) for name, of in found.items()}


def control_changes(events: Events, boot: Boot, *, timed: bool) -> list[ControlChange]:
    """Everything of one boot, in order; without times unless the boot is ``timed``."""
    changes = [
        _change(boot.index, done, row)
        for event, done in (_DONE | _KPROBES).items()
        for row in _rows(events, boot.index, event)
    ]
    changes.sort(key=lambda change: change.ns or 0)
    for instance, readings in _grown(events, boot.index).items():
        mine = [i for i, c in enumerate(changes) if c.instance == instance and c.file]
        times = [changes[i].ns or 0 for i in mine]
        for ns, grown in readings:
            if behind := bisect_right(times, ns):
                at = mine[behind - 1]
                changes[at] = replace(changes[at], grown=grown)
    return changes if timed else [replace(change, ns=None) for change in changes]
