"""Scratch areas, which the next kernel starts in, and what they cost.

``kho_reserve_scratch()`` in ``kernel/liveupdate/kexec_handover.c``: one area in low memory, one
anywhere, one in each NUMA node with memory, in this order. They are CMA memory: the kernel gives
them to movable pages alone, and accounts for them under ``CmaTotal`` only where it initialized
them as such after a boot without KHO data.
"""

from __future__ import annotations

import re

from tracekit.errors import ParseError
from tracekit.frozen import dataclass
from tracekit.parameters import memparse, split_parameters

__all__ = ["Meminfo", "Scratch", "parse_meminfo", "parse_scratch", "scratch_parameter"]

_MOST = 1 << 12  # areas; a machine has one for each NUMA node, and two more
_MOST_TEXT = 1 << 16
_KIB = re.compile(rb"^(\w+):\s+(\d{1,16}) kB", re.M)


@dataclass(frozen=True, slots=True)
class Scratch:
    """An area: what it is for (``low``, ``global``, ``node N``), physical address, bytes."""

    kind: str
    address: int
    size: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Meminfo:
    """What ``/proc/meminfo`` says, in bytes; None where it does not."""

    total: int | None
    cma_total: int | None
    cma_free: int | None


def parse_meminfo(data: bytes) -> Meminfo:
    """Read ``/proc/meminfo``; never raises."""
    found = {m[1]: int(m[2]) * 1024 for m in _KIB.finditer(data[:_MOST_TEXT])}
    return Meminfo(found.get(b"MemTotal"), found.get(b"CmaTotal"), found.get(b"CmaFree"))


def _kind(number: int, count: int) -> str:
    if count < 3:  # no kernel has fewer
        return "unknown"
    return ("low", "global")[number] if number < 2 else f"node {number - 2}"


def parse_scratch(addresses: bytes, sizes: bytes, source: str = "scratch") -> list[Scratch]:
    """The areas, from ``scratch_phys`` and ``scratch_len``.

    Which area is for what follows from their order; with nodes that have no memory the numbers of
    nodes are counted without them. Raises :class:`~tracekit.errors.ParseError`.
    """
    if max(len(addresses), len(sizes)) > _MOST_TEXT:
        raise ParseError(f"{source}: more than {_MOST_TEXT:,} bytes")
    try:
        texts = [one.decode("ascii", "replace").split() for one in (addresses, sizes)]
        pairs = [(int(a, 16), int(size, 16)) for a, size in zip(*texts, strict=True)]
    except ValueError as error:
        raise ParseError(f"{source}: scratch_phys and scratch_len: {error}") from error
    if len(pairs) > _MOST or any(a < 0 or n < 0 or a + n > 1 << 64 for a, n in pairs):
        raise ParseError(f"{source}: scratch_phys and scratch_len are no ranges of memory")
    return [Scratch(_kind(i, len(pairs)), a, n) for i, (a, n) in enumerate(pairs)]


def scratch_parameter(cmdline: str) -> tuple[str, str]:
    """(``kho_scratch=`` of a command line, what it means); '' twice where it is absent.

    ``kho_parse_scratch_size()``: a percentage, or the sizes low, global, per node.
    """
    values = [value or "" for name, value in split_parameters(cmdline) if name == "kho_scratch"]
    if not values:
        return "", ""
    text = values[-1]
    if text.endswith("%") and text[:-1].isdecimal() and len(text) < 8:
        return text, f"{text} of what the kernel reserves for itself while it boots"
    sizes = [memparse(part) for part in text.split(",")]
    if len(sizes) == 3 and all(size is not None and not size[1] for size in sizes):
        low, anywhere, node = (part.strip() for part in text.split(","))
        return text, f"{low} in low memory, {anywhere} anywhere, {node} in each node"
    return text, "not as the kernel wants it: N%, or LOW,GLOBAL,PERNODE"
