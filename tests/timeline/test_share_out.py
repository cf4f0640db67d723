"""Whose each sub-buffer is, where a ring holds the records of several kernels."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.layout import CpuBuffer, RegionLayout
from tracekit.spans import filled
from tracekit.timeline.shared import CpuShares, Writer, share_out

PAGE = 4096
SECOND = 10**9 + 7  # about: whole ones would be jiffies


def ring(
    stamps: Sequence[int], wrapped: bool | None = False, ordered: bool = True
) -> tuple[bytes, RegionLayout]:
    """One CPU: an empty reader page, then a sub-buffer for each stamp."""
    pages = [struct.pack("<QQ", 0, 0), *(struct.pack("<QQ", s, 64) for s in stamps)]
    data = b"".join(page.ljust(PAGE, b"\0") for page in pages)
    offsets = tuple(range(0, len(data), PAGE))
    cpu = CpuBuffer(0, 0, 0, PAGE, len(offsets), offsets, wrapped, ordered)
    return data, RegionLayout("6.15+", None, 0, (), (cpu,))


def writer(zero: int | None = None, **stats: int) -> Writer:
    counters = {name.replace("_", " "): value for name, value in stats.items()}
    return Writer(lambda _: counters, zero)


def shared(
    stamps: Sequence[int],
    *writers: Writer,
    clock: str = "local",
    wrapped: bool | None = False,
    ordered: bool = True,
) -> CpuShares:
    data, layout = ring(stamps, wrapped, ordered)
    (share,) = share_out(data, layout, HeaderPage(), writers or (writer(), writer()), clock)
    return share


def counts(share: CpuShares) -> list[int]:
    return [len(part) for part in share.parts]


SNAPSHOT = {"entries": 5, "oldest_event_ts": 7 * SECOND}


@pytest.mark.parametrize(
    ("stamps", "old", "new", "wrapped", "expected"),
    [
        ([7, 8, 9, 1, 2], {}, {}, False, [3, 2]),
        ([1, 2], {}, {}, False, [0, 2]),  # reset: all the new kernel's
        ([7, 8, 9], SNAPSHOT, {}, False, [3, 0]),  # the new one recorded nothing here
        ([7, 8, 1, 9], SNAPSHOT, {}, False, [2, 2]),  # its first sub-buffer took long
        ([1, 5, 3, 9], {}, {}, False, [0, 4]),  # reset, and one sub-buffer is stale
        ([8, 9], SNAPSHOT, {"entries": 9, "overrun": 0}, True, [2, 0]),
        ([8, 9], SNAPSHOT, {"entries": 9, "overrun": 4}, True, [0, 2]),
    ],
)
def test_two_kernels(
    stamps: list[int],
    old: Mapping[str, int],
    new: Mapping[str, int],
    wrapped: bool,
    expected: list[int],
) -> None:
    share = shared([s * SECOND for s in stamps], writer(**old), writer(**new), wrapped=wrapped)
    assert counts(share) == expected
    assert share.told and not share.strange


def test_three_kernels_and_one_that_is_not_in_the_session() -> None:
    stamps = [50, 60, 40, 45, 30, 31, 32, 1]
    share = shared(stamps, writer(), writer(), writer())
    assert counts(share) == [2, 3, 1]
    assert len(share.strange) == 2
    assert counts(shared([50, 60, 1], writer(), writer(), writer())) == [0, 2, 1]


def test_a_clock_that_goes_on() -> None:
    """The TSC does not step back: the new kernel's zero tells, or nothing does."""
    stamps = [100, 200, 300, 900, 950]
    assert counts(shared(stamps, writer(), writer(zero=500), clock="x86-tsc")) == [3, 2]
    three = shared(stamps, writer(), writer(250), writer(920), clock="x86-tsc")
    assert counts(three) == [2, 2, 1]
    after_firmware = [*stamps, 10, 20]
    assert counts(shared(after_firmware, writer(), writer(5), clock="x86-tsc")) == [5, 2]
    unknown = shared(stamps, writer(), writer(), clock="x86-tsc")
    assert not unknown.told and counts(unknown) == [0, 0] and unknown.strange


@pytest.mark.parametrize(
    ("stamps", "parts"),
    [
        ([460, 470, 480, 490, 510], [0, 5]),  # reset: all before the zero is the new kernel's
        ([100, 210, 230, 470, 490, 510], [3, 3]),
        ([100, 210, 230], [3, 0]),
        ([100, 210, 230, 510], [3, 1]),
    ],
)
def test_a_zero_that_is_too_late(stamps: list[int], parts: list[int]) -> None:
    """Ticks were lost before the TSC was found. The old kernel's last sample is at 200."""
    late = Writer(zero=500, late=True)
    assert counts(shared(stamps, Writer(last=200), late, clock="x86-tsc")) == parts
    unknown = [sum(s < 500 for s in stamps), sum(s >= 500 for s in stamps)]
    assert counts(shared(stamps, Writer(), late, clock="x86-tsc")) == unknown


def test_sub_buffers_that_could_not_be_read() -> None:
    """The filler's stamp is none: it does not make time step back."""
    data, layout = ring([7, 8, 9, 1, 2])
    unread = ((2 * PAGE, PAGE), (5 * PAGE, PAGE))
    (share,) = share_out(
        filled(data, unread), layout, HeaderPage(), [writer(), writer()], "local", unread
    )
    assert counts(share) == [3, 2]


def test_an_order_that_was_taken_from_the_stamps_tells_nothing() -> None:
    assert not shared([1, 2, 8, 9], ordered=False).told


@given(
    st.lists(st.integers(0, 1 << 64).map(lambda n: min(n, (1 << 64) - 1)), max_size=12),
    st.integers(2, 4),
    st.sampled_from(["local", "x86-tsc"]),
    st.lists(st.integers(0, 1 << 64) | st.none(), min_size=4, max_size=4),
)
def test_no_sub_buffer_is_shown_twice_or_lost(
    stamps: list[int], number: int, clock: str, zeros: list[int | None]
) -> None:
    data, layout = ring(stamps)
    writers = [writer(zero) for zero in zeros[:number]]
    (share,) = share_out(data, layout, HeaderPage(), writers, clock)
    assert len(share.parts) == number
    pages = [page for part in (share.strange, *share.parts) for page in part]
    assert len(pages) == len(set(pages))
    used = layout.cpus[0].pages[1:]
    assert set(used) <= set(pages) <= set(layout.cpus[0].pages)
