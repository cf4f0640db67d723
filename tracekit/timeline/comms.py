"""Task names: what ``saved_cmdlines`` knew, and what the events themselves say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tracekit.ftrace.columns import Payloads, as_arrow, typed_column
from tracekit.ftrace.format import EventFormat, Field
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.rows import EventKind, Rows

__all__ = ["IDLE", "UNKNOWN", "comms_of_boot"]

IDLE = "<idle>"  #: what the kernel calls pid 0 (trace_find_cmdline())
UNKNOWN = "<...>"  #: what the kernel prints where it has forgotten the name
_COMM_SIZE = 15  # TASK_COMM_LEN without its NUL


def _pairs(fmt: EventFormat) -> Iterator[tuple[Field, Field]]:
    """Fields that name a task together: ``prev_pid`` and ``prev_comm``, ``pid`` and ``comm``, ..."""
    by_name = {f.name: f for f in fmt.fields}
    for name, pid in by_name.items():
        comm = by_name.get(f"{name[:-3]}comm") if name.endswith("pid") else None
        if comm is not None and comm.is_string and pid.length is None and pid.size == 4:
            yield pid, comm
    if fmt.full_name == "sched:sched_process_exec" and {"pid", "filename"} <= by_name.keys():
        yield by_name["pid"], by_name["filename"]


def _named(payloads: Payloads, pid: Field, comm: Field) -> Iterator[tuple[int, str]]:
    """The distinct (pid, name) of an event's records, the last one of a pid last."""
    table = pa.table({"pid": typed_column(payloads, pid), "name": typed_column(payloads, comm)})
    table = table.append_column("row", as_arrow(np.arange(len(payloads))))
    last = table.group_by(["pid", "name"]).aggregate([("row", "max")]).sort_by("row_max")
    for number, name in zip(last["pid"].to_pylist(), last["name"].to_pylist(), strict=True):
        if number is not None and name:
            # begin_new_exec() names a task after the file it runs
            base = name.rpartition("/")[2] if comm.name == "filename" else name
            yield number, base.encode()[:_COMM_SIZE].decode("utf-8", "ignore")


def comms_of_boot(
    boot: Boot, rows: Rows, kinds: Sequence[EventKind], buffers: Sequence[Buffer]
) -> dict[int, str]:
    """pid -> name for one boot; ``rows`` are that boot's.

    The kernel's own table wins, as in its ``trace`` file; it is small, so a pid it had forgotten
    takes the last name that an event gave it.
    """
    known = {**boot.context.comms, 0: IDLE}
    pids = as_arrow(rows.pid).unique().to_pylist()
    if all(pid in known for pid in pids):
        return known
    told: dict[int, str] = {}
    for code in np.unique(rows.kind).tolist():
        fmt = boot.format(kinds[code].id)
        for pid, comm in _pairs(fmt) if fmt else ():
            for number in np.unique(rows.buffer).tolist():
                mine = (rows.kind == code) & (rows.buffer == number)
                payloads = Payloads(buffers[number].data, rows.offset[mine], rows.length[mine])
                told.update(_named(payloads, pid, comm))
    return {**told, **known}
