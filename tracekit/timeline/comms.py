"""Task names, from ``saved_cmdlines`` and from the events themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.ftrace.columns import Payloads, coded_texts, intern, signed_numbers
from tracekit.ftrace.format import EventFormat, Field
from tracekit.spill import Spill
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.new_rows import NewColumn
from tracekit.timeline.rows import PID_LIMIT, EventKind, Rows, different, distinct

__all__ = ["IDLE", "UNKNOWN", "comm_codes", "comms_of_boot"]

_Array = npt.NDArray[Any]
IDLE = "<idle>"  #: what the kernel calls pid 0 (trace_find_cmdline())
UNKNOWN = "<...>"  #: what the kernel prints where it has forgotten the name
_COMM_SIZE = 15  # TASK_COMM_LEN without its NUL


def _pairs(fmt: EventFormat) -> Iterator[tuple[Field, Field]]:
    """Fields that name a task together, such as ``prev_pid`` and ``prev_comm``."""
    by_name = {f.name: f for f in (*fmt.common, *fmt.fields)}
    for name, pid in by_name.items():
        comm = by_name.get(f"{name[:-3]}comm") if name.endswith("pid") else None
        if comm is not None and comm.is_string and pid.length is None and pid.size == 4:
            yield pid, comm
    if fmt.full_name == "sched:sched_process_exec" and {"pid", "filename"} <= by_name.keys():
        yield by_name["pid"], by_name["filename"]


class _Tasks:
    """The last name that an event gave each task; events come from the last to the first."""

    def __init__(self) -> None:
        self.names: dict[int, tuple[str, bool]] = {}  # pid -> (name, whether it is exact)
        self._known = np.zeros(PID_LIMIT, bool)
        self._looked: list[tuple[_Array, _Array, _Array]] = []  # rows, pids, index of the name
        self._names: list[tuple[str, bool]] = []

    def look(self, rows: _Array, payloads: Payloads, pid: Field, comm: Field) -> None:
        """Take the names from the events at ``rows`` (ascending), of tasks that have none yet."""
        tasks = signed_numbers(payloads, pid, -1)
        if tasks is None:
            return
        wanted = tasks >= 0
        small = np.clip(tasks, 0, PID_LIMIT - 1)
        wanted &= ~self._known[small] | (tasks >= PID_LIMIT)
        if not wanted.all():
            tasks, rows, payloads = tasks[wanted], rows[wanted], payloads.take(wanted)
        if not len(tasks):
            return
        code, texts = _coded(payloads, comm)
        names = [(_task(text, comm), comm.name != "filename") for text in texts]
        some = np.array([bool(name) for name, _ in names])[code]
        self._looked.append((rows[some], tasks[some], code[some] + len(self._names)))
        self._names += names

    def done(self) -> None:
        """All events that come now are before those that came."""
        if not self._looked:
            return
        rows, tasks, code = map(np.concatenate, zip(*self._looked, strict=True))
        order = np.argsort(rows, kind="stable")
        pids, which = distinct(tasks[order])
        last = np.zeros(len(pids), np.int64)
        last[which] = order  # of equal indices the last counts
        for pid, name in zip(pids.tolist(), code[last].tolist(), strict=True):
            self.names.setdefault(pid, self._names[name])
        self._known[pids[pids < PID_LIMIT]] = True
        self._looked, self._names = [], []


def _coded(payloads: Payloads, comm: Field) -> tuple[_Array, list[str]]:
    """(a code for every record, the text of each code); some may be the same."""
    end = comm.offset + comm.size
    if comm.length and not comm.loc and int(payloads.lengths.min(initial=end)) >= end:
        # in place: what is behind the end of a text may make two of one
        size = np.full(len(payloads), comm.size, np.uint32)
        place = Payloads(payloads.data, payloads.offsets + np.uint64(comm.offset), size)
        code, firsts = intern(place, 0)
        found = (bytes(place.bytes_at(first)) for first in firsts.tolist())
        return code, [text.split(b"\0")[0].decode("utf-8", "backslashreplace") for text in found]
    return coded_texts(payloads, comm)


def _task(name: str, comm: Field) -> str:
    """The task that a text names; begin_new_exec() names one after the file it runs."""
    base = name.rpartition("/")[2] if comm.name == "filename" else name
    return base.encode()[:_COMM_SIZE].decode("utf-8", "ignore")


def comms_of_boot(
    boot: Boot, rows: Rows, kinds: Sequence[EventKind], buffers: Sequence[Buffer]
) -> dict[int, str]:
    """Pid -> name for one boot: the last name an event gave it, else that of the kernel's table.

    The table is from the last snapshot, so only events name a task that ran another program since.
    An exec event has the file, which is not always the name, so the table is preferred to it.
    """
    known = {**boot.context.comms, 0: IDLE}
    naming = {}
    for code, kind in enumerate(kinds):
        fmt = boot.format(kind.id) if kind.boot == boot.index else None
        if fmt and (pairs := list(_pairs(fmt))):
            naming[code] = pairs
    tasks = _Tasks()
    for found in rows.from_the_last(boot.index, naming):
        for code, mine in found.items():
            for number in different(rows.buffer[mine]):
                at = mine[rows.buffer[mine] == number]
                payloads = Payloads(buffers[number].data, rows.offset[at], rows.length[at])
                for pid, comm in naming[code]:
                    tasks.look(at, payloads, pid, comm)
        tasks.done()
    latest = tasks.names.items()
    better = {t: name for t, (name, exact) in latest if t and (exact or t not in known)}
    return {**known, **better}


def comm_codes(
    rows: Rows, comms: Mapping[int, Mapping[int, str]], spill: Spill
) -> tuple[_Array, list[str]]:
    """(index into the names for every row, int32, -1 where there is none; the names).

    ``comms``: boot -> pid -> name.
    """
    names: dict[str, int] = {}
    codes = NewColumn(spill, len(rows), np.int32)
    for boot, known in comms.items():
        found = {pid for mine in rows.each_of_boot(boot) for pid in different(rows.pid[mine])}
        pids = sorted(found)
        table = [names.setdefault(known[pid], len(names)) if pid in known else -1 for pid in pids]
        for mine in rows.each_of_boot(boot):
            some, which = distinct(rows.pid[mine])
            spill.need(len(which) << 2)
            codes.put(mine, [np.array(table, np.int32)[np.searchsorted(pids, some)][which]])
    return codes.values, list(names)
