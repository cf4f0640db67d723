"""The carve-out on the next kernel's command line: its ``memmap=``, and the half that is free.

``memmap=`` is read in ``parse_memmap_one()`` (``arch/x86/kernel/e820.c``): one without a mark that
is known (``SIZE``, ``SIZEx70000000`` for a ``$`` that got lost) limits the memory to SIZE, and the
kernel does not come up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.carriers.carve_out import halves, region_name
from tracekit.carriers.memory_use import Memory
from tracekit.errors import UsageError
from tracekit.parameters import (
    CommandLine,
    RegionSpec,
    TraceInstance,
    memparse,
    parse_cmdline,
    split_parameters,
)

__all__ = ["carried_words", "check_memmaps", "free_half", "size_text", "still_kept"]

_MARKS = ("$", "%", "#", "!", "@")


def size_text(size: int) -> str:
    """A size in bytes as parameters have it: ``8M``."""
    for shift, suffix in ((30, "G"), (20, "M"), (10, "K")):
        if size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return str(size)


def _spans(address: int, size: int, carved: Sequence[tuple[int, int]]) -> bool:
    """Whether carve-outs, those that touch joined, keep the whole range."""
    at = address
    for start, length in sorted(carved):
        if start <= at < start + length:
            at = start + length
    return at >= address + size


def carried_words(current: CommandLine, kept: Sequence[str], mine: TraceInstance) -> Iterator[str]:
    """The ``memmap=`` words of this kernel that the next one lacks, of the carve-out of ``mine``.

    All that touch each other count as one carve-out.
    """
    present = parse_cmdline(" ".join(kept)).carved
    wanted = [
        (address, size) for address, size in halves(current) if not _spans(address, size, present)
    ]
    wanted = wanted if mine.address is not None else []
    for name, value in split_parameters(current.text):
        carved = parse_cmdline(f"{name}={value}").carved if name == "memmap" else ()
        overlap = (
            a < start + length and start < a + size
            for a, size in wanted
            for start, length in carved
        )
        if any(overlap):
            yield f"memmap={value}"


def still_kept(
    current: CommandLine, following: CommandLine, mine: TraceInstance
) -> tuple[int, int] | None:
    """The first (address, size) that this kernel keeps and the next one would not; None: all is."""
    own = [(mine.address, mine.size)] if mine.address and mine.size else []
    for address, size in (*own, *halves(current)):
        was = _spans(address, size, current.carved)
        if was and not _spans(address, size, following.carved):
            return address, size
    return None


def free_half(
    command: CommandLine, memories: Sequence[Memory], mine: TraceInstance
) -> RegionSpec | None:
    """The half for the next kernel: nobody's, not this kernel's, and closest in size to it."""
    size = mine.size or 0
    free = [
        RegionSpec(region_name(start), start, length)
        for start, length in halves(command)
        if start != mine.address
        and all(
            memory.use_of(region_name(start), start, length).kind == "free" for memory in memories
        )
    ]
    return min(free, key=lambda region: abs(region.size - size), default=None)


def check_memmaps(text: str, size: int = 0) -> None:
    """Refuse a command line whose ``memmap=`` would keep the kernel from coming up.

    ``size`` is that of the carve-out: one of just this size, without an address, has lost it.
    Raises :class:`~tracekit.errors.UsageError`.
    """
    for name, value in split_parameters(text):
        if name != "memmap" or not value or value == "exactmap":
            continue
        for part in value.split(","):
            parsed = memparse(part)
            if parsed is None:
                continue
            rest = parsed[1]
            lost = rest[:1] not in _MARKS if rest else bool(size) and parsed[0] == size
            if lost:
                raise UsageError(
                    f"memmap={part}: without $ before the address it limits the memory to "
                    f"{size_text(parsed[0])}, and the kernel would not come up. Did a shell or a "
                    f"boot loader take the $? Write memmap={size_text(parsed[0])}$ADDRESS"
                )
