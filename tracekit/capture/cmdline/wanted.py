"""What ``tracekit setup`` adds to a kernel's command line, and finds again in one.

A carve-out is written as ``memmap=SIZE$ADDRESS``, or where a boot loader would expand the ``$``, as
``memmap=SIZE%ADDRESS-1+2``: System RAM (1) becomes reserved (2). The kernel then chooses its own
physical address no longer at random (``parse_memmap()`` in ``arch/x86/boot/compressed/kaslr.c``
takes the size for the end of the memory); its virtual address stays random.
"""

from __future__ import annotations

import re

from tracekit.capture.cmdline.carried import size_text
from tracekit.errors import UsageError
from tracekit.parameters import memparse, parse_cmdline, split_parameters

__all__ = [
    "ALIGN",
    "carve_out_parameters",
    "installed",
    "kho_parameters",
    "ours",
    "parse_size",
    "unescaped",
    "with_percent",
    "without",
]

ALIGN = 2 << 20  # a huge page, so the direct map is not split for it
_SIZE = re.compile(r"[1-9][0-9]{0,9}[KMG]?")
_PAGE = 4096
_KHO = re.compile(r"kho=on|reserve_mem=[^\s:]+:[^\s:]+:tk[AB]|trace_instance=tk\^traceoff@tkA")
_ON_ADDRESS = re.compile(r"trace_instance=tk\^traceoff@(0x[0-9a-f]+):(\w+)")
_DOLLAR = re.compile(r"(?<==)([0-9]+[KMG]?)\$(0x[0-9a-f]+)")
_MARKS = ("$", "%", "#", "!", "@")


def parse_size(size: str) -> int:
    """The bytes of ``--size``. Raises :class:`~tracekit.errors.UsageError`."""
    parsed = memparse(size) if _SIZE.fullmatch(size) else None
    if parsed is None:
        raise UsageError(f"--size {size!r}: write a number of bytes with K, M or G, as in 4M")
    return parsed[0]


def kho_parameters(size: str) -> str:
    """What the first kernel of a chain needs on its command line where KHO hands memory on.

    Two regions of ``size`` (``4M``), one for each of two kernels in turn. Raises
    :class:`~tracekit.errors.UsageError`.
    """
    parse_size(size)
    regions = " ".join(f"reserve_mem={size}:{size_text(ALIGN)}:{name}" for name in ("tkA", "tkB"))
    return f"kho=on {regions} trace_instance=tk^traceoff@tkA"


def carve_out_parameters(address: int, size: int) -> str:
    """The same for a carve-out: one ``memmap=`` for two halves of ``size`` bytes.

    Raises :class:`~tracekit.errors.UsageError`.
    """
    if size % _PAGE or address % _PAGE:
        raise UsageError(
            f"a carve-out of {size} bytes a half at {address:#x}: both must be multiples of {_PAGE}"
        )
    return (
        f"memmap={size_text(2 * size)}${address:#x} "
        f"trace_instance=tk^traceoff@{address:#x}:{size_text(size)}"
    )


def with_percent(parameters: str) -> str:
    """The parameters without a ``$``."""
    return _DOLLAR.sub(r"\1%\2-1+2", parameters)


def unescaped(text: str) -> str:
    """A line of a boot loader's files with the escapes of its ``$`` taken off."""
    return re.sub(r"\\+\$", "$", text)


def ours(cmdline: str) -> list[str]:
    """The words of a command line that setup adds, of whatever size, escaped or not.

    A ``memmap=`` is ours where a trace instance of ours lies on its begin; also one of the right
    size whose address is lost.
    """
    words = cmdline.split()
    places: dict[int, int] = {}
    for word in words:
        if (match := _ON_ADDRESS.fullmatch(word)) is not None:
            size = memparse(match[2])
            places[int(match[1], 16)] = size[0] if size else 0
    return [w for w in words if _KHO.fullmatch(w) or _ON_ADDRESS.fullmatch(w) or _kept(w, places)]


def _kept(word: str, places: dict[int, int]) -> bool:
    """Whether a ``memmap=`` keeps one of our (address -> size of a half) places, or was to."""
    name, _, value = unescaped(word).partition("=")
    size = memparse(value) if name == "memmap" else None
    if size is None:
        return False
    if size[1][:1] not in _MARKS:
        return size[0] in {2 * half for half in places.values()}
    start = memparse(size[1][1:])
    return start is not None and start[0] in places


def without(cmdline: str) -> str:
    """A command line without what setup adds; comment lines stay, and come first."""
    comments = [line for line in cmdline.splitlines() if line.startswith("#")]
    text = " ".join(line for line in cmdline.splitlines() if not line.startswith("#"))
    gone = set(ours(text))
    return "\n".join((*comments, " ".join(word for word in text.split() if word not in gone)))


def installed(text: str) -> tuple[int, int] | None:
    """(address, size of a half) of our carve-out in a boot loader's file, None where none is."""
    words = ours(unescaped(text.replace('"', " ").replace("\n", " ")))
    for name, value in split_parameters(" ".join(words)):
        for instance in parse_cmdline(f"{name}={value}").instances:
            if instance.address is not None and instance.size:
                return instance.address, instance.size
    return None
