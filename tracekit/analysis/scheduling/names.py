"""What turns and wakeups are of: tasks, CPUs, and who woke them, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import Labels, numbered
from tracekit.analysis.columns import ints, labels, whole
from tracekit.ftrace.columns import as_numpy, known

__all__ = ["whose"]

_Array = npt.NDArray[Any]
_UNNAMED = "<...>"


def _tasks(table: pa.Table, with_boot: bool) -> Labels:
    """The tasks of turns, as ``name-pid``, of each boot apart."""
    boot, pid = ints(table, "boot").astype(np.int64), ints(table, "pid").astype(np.int64)
    codes, comms = labels(table, "comm")
    unique, first, key = np.unique(boot << 32 | pid, return_index=True, return_inverse=True)
    names = []
    for one, at in zip(unique.tolist(), first.tolist(), strict=True):
        comm = comms[codes[at]] if codes[at] >= 0 else _UNNAMED
        suffix = f" (boot {one >> 32})" if with_boot else ""
        names.append(f"{comm}-{one & 0xFFFFFFFF}{suffix}")
    return key.reshape(-1), names


def _wakers(table: pa.Table) -> Labels:
    """Who woke, as ``name-pid``, or in what kind of interrupt."""
    pids = whole(table, "waker_pid")
    told = known(pids)
    (comm, comms), (context, contexts) = (labels(table, f"waker_{n}") for n in ("comm", "context"))
    pid, who, where = as_numpy(pids), [*comms, _UNNAMED], [*contexts, str(None)]
    boot = ints(table, "boot").astype(np.int64)  # a task has one name in a boot
    of_task = np.where(told, boot << 32 | pid.astype(np.int64) & 0xFFFFFFFF, -1 - context)
    _, first, key = np.unique(of_task, return_index=True, return_inverse=True)
    texts = [
        f"{who[comm[at]]}-{pid[at]}" if told[at] else where[context[at]] for at in first.tolist()
    ]
    by = np.argsort(first)
    place = np.empty(len(by), np.int64)
    place[by] = np.arange(len(by))
    return numbered([texts[at] for at in by.tolist()], place[key.reshape(-1)])


def whose(table: pa.Table, by: str, with_boot: bool) -> Labels:
    """(for each row the index of its CPU or task, or of who woke it; their names)."""
    if by == "waker":
        return _wakers(table)
    if by != "cpu":
        return _tasks(table, with_boot)
    key = ints(table, "cpu").astype(np.int64)
    return key, [f"cpu {n}" for n in range(int(key.max(initial=-1)) + 1)]
