"""Kernel symbols: the text of ``/proc/kallsyms`` and ``/proc/modules`` -> :class:`Symbols`.

A lookup answers as ``kallsyms_lookup()`` (``kernel/kallsyms.c``) would have answered in the boot
the text was saved from. The two texts do not hold everything the kernel knows; where they say
nothing (the end of a BPF program, of a module's last symbol) the range is cut short, so that an
address may stay without a name but never gets a wrong one.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

from tracekit._native import symbols
from tracekit.ftrace.context import Symbolized
from tracekit.session.packing.symbols import split_of

__all__ = ["KernelSymbols", "Places", "Symbols", "module_places"]

Places: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""Module -> (address, bytes) of each place it was loaded to."""

# Written by s_show(): "%px %c %s" for the kernel, "%px %c %s\t[%s]" for everything else.
_LINE_HEAD = re.compile(rb"([0-9a-f]{16}) ([!-~])")
_HEAD = 18  # characters of that
# Written by m_show() in kernel/module/procfs.c: name, size, users, users' names, state, base.
_MODULE = re.compile(r"^(\S+) (\d{1,18}) \S+ \S+ \S+ 0x([0-9a-f]{1,16})", re.M)
_KERNEL_HALF = 1 << 63  # x86_64 and arm64; below it: absolute and per-CPU symbols
_PAGE = 4096
_CACHE_LIMIT = 1 << 16
_MOST_PLACES = 16  # that a module was loaded to; each of its symbols is compared with all


class _Table:
    """Symbols by address, those of one in the order of the text."""

    def __init__(self, text: bytes, *, own: bool) -> None:
        """``own``: of modules and BPF programs, else of the kernel itself."""
        self.text = text
        columns = symbols.symbols(text, own)
        # no lists: of a large table they take ten times as much
        self.addresses = memoryview(columns[0]).cast("Q")
        self._spans = [memoryview(column).cast("I") for column in columns[1:]]

    def __len__(self) -> int:
        return len(self.addresses)

    def around(self, address: int) -> tuple[int, int]:
        """(the first symbol at the last address up to this one, -1 if there is none; the first
        beyond it).
        """
        addresses = self.addresses
        after = bisect_right(addresses, address)
        first = after - 1
        if first > 0 and addresses[first - 1] == addresses[first]:
            first = bisect_left(addresses, addresses[first], 0, after)
        return first, after

    def name(self, at: int, what: int = 0) -> str:
        """A symbol's name; ``what`` 1: its module's."""
        start = self._spans[2 * what][at]
        return self.text[start : start + self._spans[2 * what + 1][at]].decode("utf-8", "replace")


class KernelSymbols:
    """The kernel's own symbols: lines of ``kallsyms`` without a module, of one or many boots."""

    def __init__(self, text: bytes) -> None:
        self._table = _Table(text, own=False)
        #: The ranges of which ``is_ksym_addr()`` is true.
        self.image = _image(self._address)

    def __len__(self) -> int:
        return len(self._table)

    def named(self, name: str) -> Iterator[tuple[int, str]]:
        """(address, letter) of the symbols called ``name``."""
        return _named(self._table.text, name, b"\n")

    def _address(self, name: str) -> int | None:
        return next((address for address, _ in self.named(name) if address), None)

    @cached_property
    def _code(self) -> tuple[int, int, int]:
        """Where the code ends; where that for the start begins and ends. 0: not known."""
        end, start, its_end = map(self._address, ("_etext", "_sinittext", "_einittext"))
        return end or 0, start or 0, its_end or 0

    def is_code(self, address: int) -> bool:
        """Whether it lies in the kernel's code, as far as that is known.

        The letter does not tell: some kernels have it for ``jiffies`` and ``_sdata``, too.
        """
        end, start, its_end = self._code
        return not end or address <= end or start <= address <= its_end

    def find(self, address: int, end: int) -> Symbolized | None:
        """As ``get_symbol_pos()``: the first alias, up to the next address or ``end``."""
        table = self._table
        first, after = table.around(address)
        if first < 0:
            return None
        start = table.addresses[first]
        stop = table.addresses[after] if after < len(table) else end
        return Symbolized(table.name(first), address - start, stop - start, "")


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
    def _extra(self) -> _Table:
        """What is outside the image."""
        return _Table(self._own, own=True)

    def __len__(self) -> int:
        return len(self._kernel) + len(self._extra)

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

    def code(self, name: str) -> int | None:
        """As :meth:`SymbolTable.code`: by the letters t and w (``kallsyms_show_value()``)."""
        lines = ((address, kind) for address, kind in self._named(name) if kind in "tTwW")
        return next((address for address, _ in lines if address), None)

    def _named(self, name: str) -> Iterator[tuple[int, str]]:
        """(address, letter) of the symbols called ``name``, of the kernel's own those of code."""
        for address, kind in self._kernel.named(name):
            if self._kernel.is_code(address):
                yield address + (self._moved if address in self._moving else 0), kind
        for ending in (b"\n", b"\t["):
            yield from _named(self._own, name, ending)

    def _find(self, address: int) -> Symbolized | None:
        at = address - self._moved
        for start, end in self._kernel.image:
            if start <= at < end:
                return self._kernel.find(at, end)
        return self._find_extra(address)

    def _find_extra(self, address: int) -> Symbolized | None:
        """A symbol of a module or a BPF program, cut where it certainly ends.

        Trampolines (``[__builtin__ftrace]``, ``[__builtin__kprobes]``) are listed in kallsyms, but
        ``kallsyms_lookup()`` does not find them, so they only end what comes before them.
        """
        table = self._extra
        first, after = table.around(address)
        if first < 0:
            return None
        start, module = table.addresses[first], table.name(first, 1)
        places = self._places.get(module, ())
        inside = (base + size for base, size in places if 0 <= start - base < size)
        end = next(inside, (start // _PAGE + 1) * _PAGE)
        if after < len(table):
            end = min(end, table.addresses[after])
        if address >= end or module.startswith("__builtin__"):
            return None
        # bpf_address_lookup() gives no module name
        shown = "" if module == "bpf" else module
        return Symbolized(table.name(first), address - start, end - start, shown)


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
