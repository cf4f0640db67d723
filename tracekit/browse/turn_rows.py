"""The rows between which one task ran on a CPU, or none is known to have run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.stretches import Stretches
from tracekit.query.selection import among

__all__ = ["turn_rows"]

_Array = npt.NDArray[Any]
_BOOTS, _NEVER = 256, 1 << 32  # of u8 boots and u32 rows


def turn_rows(
    rows: _Array, switches: _Array, boots: _Array, ts_ns: _Array, stretches: Stretches
) -> _Array:
    """Of a CPU's ``rows`` (ascending) its ``switches``, and what else bounds a task's turn.

    That is, of each boot with switches from the first of them on, the last row, and those before
    and after each stretch in which the CPU is not known to have been quiet. ``boots`` and ``ts_ns``
    are those of all rows of the session.
    """
    if not len(switches):
        return rows[:0]
    before = among(rows, np.searchsorted(ts_ns, stretches.starts, "right")) - 1
    after = among(rows, np.searchsorted(ts_ns, stretches.ends))
    beside = np.concatenate([before, after])
    beside = rows[beside[(beside >= 0) & (beside < len(rows))]]
    least, kept = np.full(_BOOTS, _NEVER, np.int64), [switches, beside]
    of_switch = boots[switches]
    for boot in np.unique(of_switch).tolist():
        least[boot] = switches[np.argmax(of_switch == boot)]
        kept.append(rows[_last_of(rows, boots, boot)][None])
    every = np.unique(np.concatenate(kept))
    made: _Array = every[every >= least[boots[every]]]
    return made


def _last_of(rows: _Array, boots: _Array, boot: int) -> int:
    """The position of the last of a boot's rows."""
    mine = boots[rows] == boot
    return len(rows) - 1 - int(np.argmax(mine[::-1]))
