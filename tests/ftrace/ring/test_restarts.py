"""Where a ring passes from one kernel's stamps to the next one's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.ring.restarts import one_is_off, restarts, split_at

ascending = st.lists(st.integers(1, 1 << 40), min_size=1, max_size=30).map(sorted)


@pytest.mark.parametrize(
    ("stamps", "sure", "doubtful"),
    [
        ([], [], []),
        ([5, 6, 7], [], []),
        ([50, 60, 1, 2], [2], []),
        ([50, 60, 1], [2], []),  # nothing undoes it
        ([50, 60, 1, 70], [], [2]),  # a stale one, or a quiet new kernel
        ([50, 60, 1, 2, 70], [2], []),
        ([50, 60, 1, 9, 2, 3], [2, 4], []),  # three kernels
        ([50, 60, 10, 20, 5, 30, 40], [2], [4]),
        ([7, 7, 7], [], []),
    ],
)
def test_steps_back(stamps: list[int], sure: list[int], doubtful: list[int]) -> None:
    assert restarts(stamps) == (sure, doubtful)


@pytest.mark.parametrize(
    ("stamps", "sure"),
    [
        ([0, 4_000_000, 108_000_000, 17, 20], []),
        ([0, 4_000_000, 108_000_000, 17, 120_000_001], []),  # nor is that sub-buffer a stale one
        ([33_333_330, 17], []),  # CONFIG_HZ=300
        ([5_000_001, 6_000_001, 0, 4_000_000, 17, 20], [2]),
        ([0, 4_000_000, 17, 9_000_007, 0, 8_000_000, 5, 6], [4]),
        ([4_000_001, 17], [1]),
    ],
)
def test_a_tsc_that_is_found_late(stamps: list[int], sure: list[int]) -> None:
    """The first stamps of a boot are jiffies then; the TSC's begin anew."""
    assert restarts(stamps, "local") == (sure, [])
    assert restarts([4_000_000, 1_000_000], "uptime") == ([1], [])  # which always counts jiffies


@given(ascending, ascending)
def test_one_kernel_after_another(old: list[int], new: list[int]) -> None:
    """Whatever they recorded: the place is found, doubted, or there is no step back."""
    sure, doubtful = restarts([*old, *new])
    if new[0] >= old[-1]:
        assert (sure, doubtful) == ([], [])
    elif len(new) > 1 and new[1] >= old[-1]:
        assert (sure, doubtful) == ([], [len(old)])
    else:
        assert (sure, doubtful) == ([len(old)], [])


@given(st.lists(st.integers(0, 1 << 64), max_size=40))
def test_nothing_is_lost_in_splitting(stamps: list[int]) -> None:
    sure, doubtful = restarts(stamps)
    assert not set(sure) & set(doubtful)
    parts = split_at(stamps, sure)
    assert [stamp for part in parts for stamp in part] == stamps
    assert len(parts) == len(sure) + 1


def test_one_of_another_time_is_told_from_a_restart() -> None:
    assert one_is_off([1, 2, 9, 3, 4]) and one_is_off([5, 6, 1, 7])
    assert not one_is_off([1, 2, 3]) and not one_is_off([5, 1]) and not one_is_off([5, 6, 7, 1, 2])
    assert not one_is_off([]) and not one_is_off([9, 1, 2])
