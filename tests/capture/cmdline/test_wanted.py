"""The parameters that setup adds, and finds again among others."""

from __future__ import annotations

import pytest

from tracekit.capture.cmdline.wanted import (
    carve_out_parameters,
    installed,
    kho_parameters,
    ours,
    with_percent,
    without,
)
from tracekit.errors import UsageError
from tracekit.parameters import parse_cmdline

A, HALF = 0x70000000, 8 << 20
CARVED = "memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70000000:8M"


def test_a_carve_out_is_one_memmap_for_two_halves() -> None:
    assert carve_out_parameters(A, HALF) == CARVED
    for text in (CARVED, with_percent(CARVED)):
        command = parse_cmdline(text)
        assert command.carved == ((A, 2 * HALF),) and command.ignored == ()
        (instance,) = command.instances
        assert (instance.address, instance.size, instance.flags) == (A, HALF, ("traceoff",))
    assert "$" not in with_percent(CARVED)


@pytest.mark.parametrize(("address", "size"), [(A + 1, HALF), (A, 5000)])
def test_a_carve_out_of_no_whole_pages(address: int, size: int) -> None:
    with pytest.raises(UsageError, match="multiples of 4096"):
        carve_out_parameters(address, size)


@pytest.mark.parametrize(
    "added",
    [
        CARVED,
        with_percent(CARVED),
        CARVED.replace("$", r"\$"),
        CARVED.replace("$", r"\\\$"),
        CARVED.replace("$0x70000000", ""),  # as GRUB leaves it without escapes
        CARVED.replace("$0", "0"),
        kho_parameters("4M"),
    ],
)
def test_ours_are_found_among_others(added: str) -> None:
    others = "root=/dev/sda1 memmap=4K$0x1000 memmap=1G!4G memmap=16M$0x50000000 quiet kho=off"
    assert ours(f"{others} {added}") == added.split()
    assert without(f"# note\n{others} {added}") == f"# note\n{others}"
    assert ours(others) == []


def test_the_place_in_a_boot_loaders_file() -> None:
    grub = 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {}"\n'.format(CARVED.replace("$", r"\\\$"))
    assert installed(f"# Installed by tracekit setup.\n{grub}") == (A, HALF)
    assert installed(f"quiet {with_percent(CARVED)}\n") == (A, HALF)
    assert installed(f'GRUB_CMDLINE_LINUX="{kho_parameters("4M")}"') is None
    assert installed("") is None
