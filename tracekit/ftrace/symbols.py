"""Kernel symbols: the text of ``/proc/kallsyms`` and ``/proc/modules`` -> :class:`Symbols`.

A lookup answers as ``kallsyms_lookup()`` (``kernel/kallsyms.c``) would have answered in the boot
the text was saved from. The two texts do not hold everything the kernel knows; where they say
nothing (the end of a BPF program, of a module's last symbol) the range is cut short, so that an
address may stay without a name but never gets a wrong one.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from operator import le
from typing import NamedTuple, TypeAlias

from tracekit._native import symbols
from tracekit.ftrace.context import Symbolized
from tracekit.session.packing.symbols import split_of

__all__ = ["KernelSymbols", "Places", "Symbols", "module_places"]

Places: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""Module -> (address, bytes) of each place it was loaded to."""

# Written by s_show(): "%px %c %s" for the kernel, "%px %c %s\t[%s]" for everything else.
_LINE_HEAD = re.compile(rb"([0-9a-f]{16}) ([!-~])")
_HEAD = 18  # characters of that
_EXTRA = re.compile(r"^([0-9a-f]{16}) \S (\S+)\t\[([^\]\s]+)\]$", re.M)
# Written by m_show() in kernel/module/procfs.c: name, size, users, users' names, state, base.
_MODULE = re.compile(r"^(\S+) (\d{1,18}) \S+ \S+ \S+ 0x([0-9a-f]{1,16})", re.M)
_KERNEL_HALF = 1 << 63  # x86_64 and arm64; below it: absolute and per-CPU symbols
_MAPPING = ("$", ".L", "L0")  # is_mapping_symbol(), include/linux/module_symbol.h: arm64's $x, $d
_PAGE = 4096
_CACHE_LIMIT = 1 << 16
_MOST_PLACES = 16  # that a module was loaded to; each of its symbols is compared with all


class _Range(NamedTuple):
    """One symbol outside the kernel image: ``[start, end)``."""

    start: int
    end: int
    name: str
    module: str


class KernelSymbols:
    """The kernel's own symbols: lines of ``kallsyms`` without a module, of one or many boots."""

    __slots__ = ("_addresses", "_name_sizes", "_name_starts", "_text", "image")

    def __init__(self, text: bytes) -> None:
        self._text = text
        columns = symbols.symbols(text)
        # no lists: of a large table they take ten times as much
        tables: list[Sequence[int]] = [memoryview(columns[0]).cast("Q")]
        tables += [memoryview(column).cast("I") for column in columns[1:]]
        addresses = tables[0]
        if not all(map(le, addresses, islice(addresses, 1, None))):  # the kernel writes them so
            order = sorted(range(len(addresses)), key=addresses.__getitem__)
            tables = [array(c, (t[i] for i in order)) for t, c in zip(tables, "QII", strict=True)]
        self._addresses, self._name_starts, self._name_sizes = tables
        #: The ranges of which ``is_ksym_addr()`` is true.
        self.image = _image(lambda name: next((at for at, _ in self.named(name) if at), None))

    def __len__(self) -> int:
        return len(self._addresses)

    def named(self, name: str) -> Iterator[tuple[int, str]]:
        """(address, letter) of the symbols called ``name``."""
        return _named(self._text, name, b"\n")

    def find(self, address: int, end: int) -> Symbolized | None:
        """As ``get_symbol_pos()``: the first alias, up to the next address or ``end``."""
        after = bisect_right(self._addresses, address)
        if not after:
            return None
        start = self._addresses[after - 1]
        first = bisect_left(self._addresses, start, 0, after)
        stop = self._addresses[after] if after < len(self._addresses) else end
        name_start = self._name_starts[first]
        name_end = name_start + self._name_sizes[first]
        name = self._text[name_start:name_end].decode("utf-8", "replace")
        return Symbolized(name, address - start, stop - start, "")


class Symbols:
    """The symbols of one boot (a :class:`~tracekit.ftrace.context.SymbolTable`)."""

    def __init__(
        self, kernel: KernelSymbols, own: bytes, places: Places, image: range, moved: int
    ) -> None:
        """``own``: lines of modules and BPF programs.

        Addresses in ``image`` are ``moved`` further than those of ``kernel``.
        """
        self._kernel, self._own, self._places = kernel, own, places
        self._moving, self._moved = image, moved
        self._cache: dict[int, Symbolized | None] = {}

    @classmethod
    def from_kallsyms(cls, text: str | bytes, modules: str | Places = "") -> Symbols:
        """The table of ``text`` (``/proc/kallsyms``) and ``modules`` (``/proc/modules``).

        ``modules`` is its text or what :func:`module_places` found in one.

        Never raises: a line that is not a symbol is passed over, and a text whose addresses are
        hidden (all zero, ``kptr_restrict``) gives a table that finds nothing.
        """
        places = module_places(modules) if isinstance(modules, str) else modules
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        split = split_of(raw)
        return cls(KernelSymbols(raw[:split]), raw[split:], places, range(0), 0)

    @cached_property
    def _extra(self) -> tuple[Sequence[_Range], Sequence[int]]:
        """What is outside the image, and where each begins."""
        ranges = tuple(_extra_ranges(self._own.decode("utf-8", "replace"), self._places))
        return ranges, array("Q", (r.start for r in ranges))

    def __len__(self) -> int:
        return len(self._kernel) + len(self._extra[0])

    def lookup(self, address: int) -> Symbolized | None:
        """The symbol that holds ``address``, or None; of aliases the first in the table."""
        try:
            return self._cache[address]
        except KeyError:
            pass
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        symbol = self._cache[address] = self._find(address)
        return symbol

    def address_of(self, name: str) -> int | None:
        """The address of the first symbol called ``name``, the kernel's own first, or None."""
        address = next((address for address, _ in self._named(name)), None)
        return address or None

    def code(self, name: str) -> int | None:
        """As :meth:`SymbolTable.code`: by the letters t and w (``kallsyms_show_value()``)."""
        lines = ((address, kind) for address, kind in self._named(name) if kind in "tTwW")
        return next((address for address, _ in lines if address), None)

    def _named(self, name: str) -> Iterator[tuple[int, str]]:
        """(address, letter) of the symbols called ``name``."""
        for address, kind in self._kernel.named(name):
            yield address + (self._moved if address in self._moving else 0), kind
        for ending in (b"\n", b"\t["):
            yield from _named(self._own, name, ending)

    def _find(self, address: int) -> Symbolized | None:
        at = address - self._moved
        for start, end in self._kernel.image:
            if start <= at < end:
                return self._kernel.find(at, end)
        ranges, starts = self._extra
        i = bisect_right(starts, address) - 1
        if i >= 0:
            start, end, name, module = ranges[i]
            if address < end:
                return Symbolized(name, address - start, end - start, module)
        return None


def _named(text: bytes, name: str, ending: bytes) -> Iterator[tuple[int, str]]:
    """(address, letter) of the symbols called ``name``, on lines where ``ending`` comes next."""
    if not name or any(c.isspace() for c in name):
        return
    needle = b" " + name.encode("utf-8", "replace") + ending
    position = text.find(needle)
    while position >= 0:
        # only what a line begins with: one line may hold the name a million times
        start = position - _HEAD
        whole = start == 0 or (start > 0 and text[start - 1 : start] == b"\n")
        if whole and (line := _LINE_HEAD.match(text, start)):
            yield int(line[1], 16), line[2].decode()
        position = text.find(needle, position + 1)


def _image(find: Callable[[str], int | None]) -> tuple[tuple[int, int], ...]:
    """The ranges where ``is_ksym_addr()`` is true: the whole image, or only its code.

    Only with CONFIG_KALLSYMS_ALL is ``_end`` in the table, and only then does the kernel look names
    up in the whole image.
    """
    start = find("_stext")
    if start is None or start < _KERNEL_HALF:
        return ()
    end = find("_end")
    ranges = [(start, end)] if end else [(start, find("_etext") or 0)]
    if not end:
        ranges.append((find("_sinittext") or 0, find("_einittext") or 0))
    return tuple((a, b) for a, b in ranges if _KERNEL_HALF <= a < b)


def module_places(modules: str) -> Places:
    """Where each module of ``/proc/modules`` lies: (address, bytes), several if it is listed so."""
    places: dict[str, list[tuple[int, int]]] = {}
    for m in _MODULE.finditer(modules):
        of_module = places.setdefault(m[1], [])
        if len(of_module) < _MOST_PLACES:
            of_module.append((int(m[3], 16), int(m[2])))
    return places


def _extra_ranges(text: str, places: Places) -> Iterator[_Range]:
    """Symbols of modules and BPF programs by address, each cut where it certainly ends.

    Trampolines (``[__builtin__ftrace]``, ``[__builtin__kprobes]``) are listed in kallsyms, but
    ``kallsyms_lookup()`` does not find them, so they only end what comes before them.
    """
    seen: dict[int, tuple[str, str]] = {}
    for address, name, module in _EXTRA.findall(text):
        start = int(address, 16)
        if start >= _KERNEL_HALF and not name.startswith(_MAPPING):
            seen.setdefault(start, (name, module))  # the first of aliases wins
    starts = sorted(seen)
    for start, following in zip(starts, [*starts[1:], 1 << 64], strict=False):
        name, module = seen[start]
        if module.startswith("__builtin__"):
            continue
        inside = (base + size for base, size in places.get(module, ()) if 0 <= start - base < size)
        limit = next(inside, (start // _PAGE + 1) * _PAGE)
        # bpf_address_lookup() gives no module name
        yield _Range(start, min(following, limit), name, "" if module == "bpf" else module)
