"""The kernel's log: what rotated out stays in the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.save import kernel_log


def joined_log(earlier: bytes, now: bytes) -> bytes:
    joined, left_out = kernel_log.joined_log(earlier, now)
    assert left_out == 0
    return joined


def log(*stamps: int) -> bytes:
    return b"".join(b"[%5d.%06d] line %d\n" % (s, s, s) for s in stamps)


def test_what_rotated_out_stays() -> None:
    assert joined_log(log(0, 1, 2, 3), log(2, 3, 4)) == log(0, 1, 2, 3, 4)
    assert joined_log(log(0, 1), log(5, 6)) == log(0, 1, 5, 6)
    assert joined_log(log(0, 1, 2), log(1, 2)) == log(0, 1, 2)
    assert joined_log(log(0, 1, 2), log(1)) == log(0, 1, 2)
    assert joined_log(log(0), b"") == log(0)
    assert joined_log(b"", log(0)) == log(0)


def test_of_too_many_lines_the_first_and_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_log, "MAX_LINES", 4)
    monkeypatch.setattr(kernel_log, "_HEAD", 1)
    assert kernel_log.joined_log(log(0, 1, 2, 3), log(3, 4, 5)) == (log(0, 3, 4, 5), 2)


def test_a_line_that_was_printed_twice_is_there_twice() -> None:
    assert joined_log(log(1, 1, 2), log(1, 2, 3)) == log(1, 1, 2, 3)


def test_lines_without_a_stamp_stay_where_they_were() -> None:
    old = b"[    1.000000] stack:\n a\n b\n" + log(2)
    assert joined_log(old, b" b\n" + log(2, 3)) in (
        b" b\n[    1.000000] stack:\n a\n" + log(2, 3),
        old + log(3),
    )
    assert joined_log(b"no stamps\nat all", b"at all\nhere\n") == b"no stamps\nat all\nhere\n"


@given(
    st.lists(st.integers(0, 30), max_size=30).map(sorted), st.integers(0, 30), st.integers(0, 30)
)
def test_two_windows_of_one_log_give_all_they_show(stamps: list[int], start: int, end: int) -> None:
    """The earlier one from the beginning, the later one to the end."""
    lines = [b"[%5d.000000] line %d\n" % (s, i) for i, s in enumerate(stamps)]
    found = joined_log(b"".join(lines[:end]), b"".join(lines[start:]))
    assert found == b"".join(lines if start <= end else lines[:end] + lines[start:])


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_rubbish_is_kept_too(old: bytes, new: bytes) -> None:
    found = joined_log(old, new).splitlines()
    assert set(new.splitlines()) <= set(found)
    assert set(old.splitlines()) <= set(found)
