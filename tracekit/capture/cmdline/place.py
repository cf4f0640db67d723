"""Where a carve-out can lie, by ``/proc/iomem``: memory that no kernel needs for itself.

About 7/8 of the low memory has been free of kernels, initramfs and boot loaders wherever it was
tried; right below the end of the memory ``kexec -c`` puts what it loads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracekit.capture.cmdline.wanted import ALIGN
from tracekit.carriers.carve_out import covering
from tracekit.errors import SourceError, UsageError

__all__ = ["choose_address", "taken_by"]

_LINE = re.compile(r"^( *)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.+)$", re.M)
_LOW = 1 << 32  # above it a crash kernel does not see it, and 32-bit code at boot neither
_LOWEST = 16 << 20  # below: real mode code, DMA, where kernels are loaded
_FROM_END = 64 << 20


def choose_address(iomem: str, size: int) -> int:
    """The address for ``size`` bytes, a multiple of 2 MiB.

    It lies in System RAM below 4 GiB, outside of everything that is listed inside it (the kernel,
    the crash kernel), below the latter if there is room, and 64 MiB below the end, as close to 7/8
    of it as can be. Raises
    :class:`~tracekit.errors.SourceError` where ``iomem`` shows nothing, and
    :class:`~tracekit.errors.UsageError` where nothing is free.
    """
    name_it = "name one with --address ADDRESS"
    ranges = [(len(m[1]), int(m[2], 16), int(m[3], 16) + 1, m[4]) for m in _LINE.finditer(iomem)]
    if not any(end > 1 for _, _, end, _ in ranges):
        why = "its addresses are zeros: be root" if ranges else "it cannot be read"
        raise SourceError(f"proc/iomem does not say where memory is free: {why}, or {name_it}")
    low = [(a, min(b, _LOW)) for depth, a, b, name in ranges
           if not depth and name == "System RAM" and a < _LOW]  # fmt: skip
    if not low:
        raise UsageError(f"proc/iomem lists no System RAM below 4 GiB: {name_it}")
    end = max(b for _, b in low)
    inner = sorted((a, b) for depth, a, b, _ in ranges if depth)
    target = end * 7 // 8
    crash = min(
        (a for depth, a, _, name in ranges if depth and name == "Crash kernel"), default=end
    )
    spots = _spots(low, inner, min(crash, end - _FROM_END), size, target)
    spots = spots or _spots(low, inner, end - _FROM_END, size, target)
    if not spots:
        raise UsageError(
            f"no {size >> 20} MiB are free in the System RAM below 4 GiB, 64 MiB below its end "
            f"({end:#x}) and outside of the kernel and the crash kernel: take a smaller --size, or "
            f"{name_it}"
        )
    return min(spots, key=lambda address: abs(address - target))


def taken_by(iomem: str, address: int, size: int) -> str:
    """Who has a range so that no carve-out can lie there, in words; '' where it can.

    The kernel itself may be there now: the next one goes out of the way of a ``memmap=``.
    """
    names = covering(iomem, address, size)
    wrong = [
        n for n in names if n not in ("System RAM", "Reserved") and not n.startswith("Kernel ")
    ]
    return ", ".join(wrong)


def _spots(
    ram: list[tuple[int, int]],
    inner: list[tuple[int, int]],
    limit: int,
    size: int,
    target: int,
) -> list[int]:
    """The address closest to ``target`` in every free range that has room below ``limit``."""
    return [
        min(max(target, first), last) // ALIGN * ALIGN
        for start, stop in _free(ram, inner)
        if (first := -(-max(start, _LOWEST) // ALIGN) * ALIGN) <= (last := min(stop, limit) - size)
    ]


def _free(ram: list[tuple[int, int]], inner: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of ``ram`` outside of the ``inner`` ranges."""
    for start, stop in ram:
        at = start
        for a, b in inner:
            if b <= at or a >= stop:
                continue
            if a > at:
                yield at, a
            at = max(at, b)
        if at < stop:
            yield at, stop
