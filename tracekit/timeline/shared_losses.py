"""What a boot's record lost when a later kernel recorded on in the same region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tracekit.ftrace.ring.page import Records

__all__ = ["lost_to_the_next"]


def lost_to_the_next(
    records: Records,
    copied: Mapping[str, int] | None,
    snapshot: Mapping[str, int],
    wrapped: bool | None,
) -> tuple[int | None, bool]:
    """(events lost, whether that is a lower bound) of one CPU; None if it is not known.

    ``copied`` are the counters of the next kernel's copy of the buffer, which it made before it
    recorded; ``snapshot`` those that were saved before the jump.
    """
    overrun = snapshot.get("overrun", 0)
    if copied is not None and "entries" in copied:
        gone = max(0, copied["entries"] - len(records)) + overrun
        return gone, wrapped is not False and overrun > 0
    taken, entries = snapshot.get("now ts"), snapshot.get("entries", 0)
    if not entries and not len(records):
        return None, False
    gone = 0
    if taken is not None:
        stamps = np.frombuffer(records.ts, np.uint64)
        gone = max(0, entries + overrun - int(np.count_nonzero(stamps <= taken)))
    # The sub-buffer that was being written had a record, and the next kernel's first one is there.
    return max(1, gone), True
