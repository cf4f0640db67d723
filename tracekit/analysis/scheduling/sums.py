"""How long each task was in each state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.columns import ints, whole
from tracekit.analysis.scheduling.task_states import STATES
from tracekit.analysis.statistics import clip
from tracekit.ftrace.columns import as_arrow, as_numpy

__all__ = ["sum_states"]

_Array = npt.NDArray[Any]


def sum_states(states: pa.Table, since: _Array, until: _Array) -> pa.Table:
    """The states of :func:`~tracekit.analysis.scheduling.tables.make_states`, added up in a window.

    ``since`` and ``until``: ns by boot. :meth:`~tracekit.analysis.analysis.Analysis.time_in_states`
    has the columns.
    """
    boot = ints(states, "boot")
    part = clip(ints(states, "start_ns"), ints(states, "end_ns"), since[boot], until[boot])
    start = np.maximum(ints(states, "start_ns"), since[boot])[part.which]
    end = start + part.length
    task = (boot.astype(np.int64) << 32 | ints(states, "pid").astype(np.int64))[part.which]
    state = _codes(states)
    known, first, which = np.unique(task, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    sums = np.zeros((len(STATES), len(known)), np.int64)
    np.add.at(sums, (state[part.which], which), part.length)
    begun = np.full(len(known), np.iinfo(np.int64).max)
    ended = np.full(len(known), np.iinfo(np.int64).min)
    np.minimum.at(begun, which, start)
    np.maximum.at(ended, which, end)
    turns = np.bincount(which[state[part.which] == 0], minlength=len(known))
    rows = part.which[first]
    columns = {name: whole(states, name).take(as_arrow(rows))
               for name in ("boot", "pid", "comm")}  # fmt: skip
    columns["turns"] = as_arrow(turns.astype(np.int64))
    for number, name in enumerate(STATES):
        if name != "dead":
            columns[f"{name}_ns"] = as_arrow(sums[number])
    columns["unknown_ns"] = as_arrow(np.maximum(ended - begun - sums.sum(axis=0), 0))
    return pa.table(columns).take(as_arrow(np.argsort(-sums[0], kind="stable")))


def _codes(states: pa.Table) -> _Array:
    column = whole(states, "state")
    names = column.dictionary.to_pylist()
    table = np.array([*(STATES.index(name) for name in names), 0])
    codes: _Array = table[as_numpy(column.indices)]
    return codes
