"""Task names, from ``saved_cmdlines`` and from the events themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tracekit.ftrace.columns import Payloads, as_signed, coded, intern, typed_column
from tracekit.ftrace.format import EventFormat, Field
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.rows import EventKind, Rows, distinct

__all__ = ["IDLE", "UNKNOWN", "comms_of_boot"]

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


def _named(payloads: Payloads, pid: Field, comm: Field) -> Iterator[tuple[int, int, str]]:
    """The distinct (last record, pid, name) of an event's records."""
    tasks = as_signed(typed_column(payloads, pid), -1)
    if tasks is None:
        return
    numbers, number = distinct(tasks)
    code, texts = _coded(payloads, comm)
    pairs, pair_of = distinct(number.astype(np.int64) * len(texts) + code)
    last = np.zeros(len(pairs), np.int64)
    last[pair_of] = np.arange(len(tasks))  # of equal indices the last counts
    named = [_task(text, comm) for text in texts]
    for record, pair in zip(last.tolist(), pairs.tolist(), strict=True):
        task, name = numbers[pair // len(texts)], named[pair % len(texts)]
        if task >= 0 and name:
            yield record, int(task), name


def _coded(payloads: Payloads, comm: Field) -> tuple[np.ndarray, list[str]]:
    """(a code for every record, the text of each code); some may be the same."""
    end = comm.offset + comm.size
    if comm.length and not comm.loc and int(payloads.lengths.min(initial=end)) >= end:
        # in place: what is behind the end of a text may make two of one
        size = np.full(len(payloads), comm.size, np.uint32)
        place = Payloads(payloads.data, payloads.offsets + np.uint64(comm.offset), size)
        code, firsts = intern(place, 0)
        found = (bytes(place.bytes_at(first)) for first in firsts.tolist())
        return code, [text.split(b"\0")[0].decode("utf-8", "backslashreplace") for text in found]
    texts = typed_column(payloads, comm)
    code, firsts = coded(texts)
    return code, [texts[first].as_py() or "" for first in firsts.tolist()]


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
    latest: dict[int, tuple[int, str, bool]] = {}  # pid -> (its last row, name, if exact)
    for code, kind in enumerate(kinds):
        fmt = boot.format(kind.id) if kind.boot == boot.index else None
        pairs = list(_pairs(fmt)) if fmt else []
        if not pairs:
            continue
        mine = rows.of_kinds(boot.index, (code,))
        for number in np.unique(rows.buffer[mine]).tolist():
            indices = mine[rows.buffer[mine] == number]
            payloads = Payloads(buffers[number].data, rows.offset[indices], rows.length[indices])
            for pid, comm in pairs:
                for record, task, name in _named(payloads, pid, comm):
                    row = int(indices[record])
                    if row >= latest.get(task, (-1,))[0]:
                        latest[task] = row, name, comm.name != "filename"
    better = {t: name for t, (_, name, exact) in latest.items() if t and (exact or t not in known)}
    return {**known, **better}
