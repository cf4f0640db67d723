"""Rows of one boot, found among those of all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.timeline.rows import Rows


def made(boots: list[int], kinds: list[int]) -> Rows:
    columns = {name: np.zeros(len(boots), np.int64) for name in Rows.__dataclass_fields__}
    columns |= {"boot": np.array(boots, np.uint8), "kind": np.array(kinds, np.int32)}
    return Rows(**columns)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40), st.booleans())
def test_rows_of_a_boot_wherever_they_are(pairs: list[tuple[int, int]], in_turn: bool) -> None:
    """Boots one after the other, as they mostly are, and mixed."""
    pairs = sorted(pairs) if in_turn else pairs
    boots, kinds = [b for b, _ in pairs], [10 * b + k for b, k in pairs]  # kinds are a boot's own
    rows = made(boots, kinds)
    for boot in range(6):
        mine = [i for i, b in enumerate(boots) if b == boot]
        part = rows.within(boot)
        assert list(np.arange(len(boots))[rows.of_boot(boot)]) == mine
        assert rows.count(boot) == len(mine)
        ends = {
            cpu: (first, last.tolist()) for cpu, (first, last) in rows.cpu_ends(boot, 2).items()
        }
        assert ends == ({0: (mine[0], mine[-2:])} if mine else {})
        assert (part.start, part.stop) == ((mine[0], mine[-1] + 1) if mine else (0, 0))
        for codes in ((), (10 * boot,), (10 * boot + 1, 10 * boot + 3)):
            wanted = [i for i in mine if kinds[i] in codes]
            assert rows.of_kinds(boot, codes).tolist() == wanted
