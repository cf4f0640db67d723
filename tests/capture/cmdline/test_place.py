"""Where a carve-out is put, by texts of /proc/iomem."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.cmdline.place import choose_address, taken_by
from tracekit.errors import SourceError, UsageError

MIB = 1 << 20
PLAIN = """\
00001000-0009fbff : System RAM
00100000-7ffdefff : System RAM
  45400000-45db7577 : Kernel code
  45e00000-468d0fff : Kernel rodata
7ffdf000-7fffffff : Reserved
100000000-17fffffff : System RAM
"""


def iomem(*inner: str, end: int = 0x7FFDFFFF, more: str = "") -> str:
    lines = [f"00100000-{end:08x} : System RAM", *(f"  {line}" for line in inner)]
    return "\n".join(lines) + f"\n{more}"


def test_at_seven_eighths_of_the_low_memory() -> None:
    address = choose_address(PLAIN, 16 * MIB)
    assert address == 0x6FE00000
    assert address % (2 * MIB) == 0


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        # the crash kernel: below it
        (["60000000-6fffffff : Crash kernel"], 0x5F000000),
        (["6f000000-7effffff : Crash kernel"], 0x6E000000),
        # the kernel itself: beside it, whichever is closer
        (["6f000000-707fffff : Kernel code", "70800000-71000000 : Kernel data"], 0x71200000),
        (["6d000000-705fffff : Kernel code"], 0x70600000),
        # tables of the firmware that lie inside
        (["6fe00000-6fe00fff : ACPI Tables"], 0x70000000),
    ],
)
def test_out_of_the_way(inner: list[str], expected: int) -> None:
    assert choose_address(iomem(*inner), 16 * MIB) == expected


def test_above_the_crash_kernel_where_nothing_is_left_below() -> None:
    text = iomem("00100000-01ffffff : Kernel code", "02000000-5fffffff : Crash kernel")
    assert choose_address(text, 16 * MIB) == 0x6FE00000


def test_never_close_to_the_end() -> None:
    """kexec puts what it loads there."""
    small = "00100000-0fffffff : System RAM\n"  # 256 MiB: 7/8 is within the last 64 MiB
    assert choose_address(small, 16 * MIB) == 0x0FFFFFFF + 1 - 64 * MIB - 16 * MIB


def test_below_four_gib() -> None:
    large = iomem(end=0x23FFFFFFF)
    assert choose_address(large, 16 * MIB) == (1 << 32) * 7 // 8


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("", SourceError, "it cannot be read, or name one with --address"),
        ("00000000-00000000 : System RAM\n", SourceError, "zeros: be root"),
        ("100000000-17fffffff : System RAM\n", UsageError, "no System RAM below 4 GiB"),
        ("00100000-05bfffff : System RAM\n", UsageError, "no 16 MiB are free"),
    ],
)
def test_no_room(text: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        choose_address(text, 16 * MIB)


def test_who_is_in_the_way() -> None:
    text = iomem("60000000-6fffffff : Crash kernel", "45400000-45db7577 : Kernel code")
    assert taken_by(text, 0x6F000000, 16 * MIB) == "Crash kernel"
    assert taken_by(text, 0x45400000, 16 * MIB) == ""  # the next kernel goes out of the way
    assert taken_by(text, 0x7F800000, 16 * MIB) == ""
    assert taken_by("fed00000-fed003ff : HPET 0\n", 0xFED00000, 4096) == "HPET 0"


_RANGES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 1 << 33), st.integers(1, 1 << 31),
              st.sampled_from(["System RAM", "Crash kernel", "Kernel code", "Reserved"])),
    max_size=8,
)  # fmt: skip


@given(_RANGES, st.sampled_from([2, 8, 16, 128]))
def test_what_is_chosen_is_free(ranges: list[tuple[bool, int, int, str]], mib: int) -> None:
    text = "".join(
        f"{'  ' if deep else ''}{start:08x}-{start + size:08x} : {name}\n"
        for deep, start, size, name in ranges
    )
    try:
        address = choose_address(text, mib * MIB)
    except (SourceError, UsageError):
        return
    end = address + mib * MIB
    assert address % (2 * MIB) == 0 and address >= 16 * MIB and end <= 1 << 32
    assert any(
        not deep and name == "System RAM" and start <= address and end <= start + size + 1
        for deep, start, size, name in ranges
    )
    assert not any(
        deep and start < end and address <= start + size for deep, start, size, _ in ranges
    )
