"""The symbols of one boot: those that were saved last, then earlier ones."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from tracekit.errors import SessionError
from tracekit.ftrace.context import Symbolized, SymbolTable
from tracekit.ftrace.symbols import KernelSymbols, Places, Symbols, module_places
from tracekit.once import Once
from tracekit.session import Session
from tracekit.session.packing.symbols import HOME, IMAGE

__all__ = ["LayeredSymbols", "LazySymbols"]

_MOST_LAYERS = 256  # every lookup may ask all; what is older stays without a name
_MOST_LOADED = 8  # boots whose symbols are in memory
#: The tables of symbols, and where the newest save of one and the earlier ones are.
_SYMBOLS, _SAVES = ("kallsyms", "modules"), ("", "earlier/")


class _Boot(Protocol):
    """What is needed of a :class:`~tracekit.timeline.boot.Boot`."""

    @property
    def index(self) -> int: ...
    @property
    def session(self) -> Session: ...
    def layers(self, rel: str) -> list[str]: ...
    def earlier(self, rel: str) -> list[str]: ...
    def note(self, code: str, where: str, message: str) -> None: ...


class LayeredSymbols:
    """Symbols of the newest kallsyms, and where those know nothing, of earlier ones.

    So a module that was unloaded names its addresses as long as no other took them.
    """

    def __init__(self, newest: Symbols | None, kallsyms: Sequence[str], places: Places) -> None:
        """``kallsyms``: texts of earlier saves, the newest first."""
        earlier = kallsyms[: _MOST_LAYERS - 1]
        tables = [newest, *(Symbols.from_kallsyms(text, places) for text in earlier)]
        self._tables: tuple[SymbolTable, ...] = tuple(t for t in tables if t is not None)

    def lookup(self, address: int) -> Symbolized | None:
        """As :meth:`SymbolTable.lookup`."""
        for table in self._tables:
            if (symbol := table.lookup(address)) is not None:
                return symbol
        return None

    def code(self, name: str) -> int | None:
        """As :meth:`SymbolTable.code`."""
        known = (table.code(name) for table in self._tables)
        return next((address for address in known if address is not None), None)


@lru_cache(2)  # boots of the same kernel mostly have the same
def _shared(symbols: Once[SymbolTable]) -> SymbolTable:
    return symbols.take()


@lru_cache(2)
def _of_kernel(text: Once[bytes]) -> KernelSymbols:
    return KernelSymbols(text.take())


def _newest(boot: _Boot, places: Places) -> Symbols | None:
    """The symbols of the last save."""
    try:
        found = boot.session.symbols(boot.index)
        if found is None:
            return None
        kernel = _of_kernel(Once(found.key, found.kernel))
    except SessionError as error:
        boot.note("file-unreadable", "kallsyms", str(error))
        return None
    return Symbols(kernel, found.lines, places, range(HOME, HOME + IMAGE), found.moved)


def _symbols_of(boot: _Boot) -> SymbolTable:
    def read() -> SymbolTable:
        places = module_places("\n".join(boot.layers("modules")))
        return LayeredSymbols(_newest(boot, places), boot.earlier("kallsyms"), places)

    base = f"boots/{boot.index}/"
    paths = [f"{base}{part}{name}" for name in _SYMBOLS for part in _SAVES]
    try:
        digests = tuple(boot.session.digest(path) for path in paths)
    except SessionError:  # what can be read is
        return read()
    return _shared(Once(digests, read))


#: Those that have loaded their symbols last: a chain of boots need not have those of all.
_LOADED: deque[weakref.ref[LazySymbols]] = deque(maxlen=_MOST_LOADED)


class LazySymbols:
    """Loads kallsyms when the first symbol is looked up: many commands need none."""

    def __init__(self, boot: _Boot) -> None:
        self._boot = boot
        self._table: SymbolTable | None = None

    @property
    def table(self) -> SymbolTable:
        """All of them."""
        table = self._table
        if table is None:
            table = self._table = _symbols_of(self._boot)
            oldest = _LOADED[0]() if len(_LOADED) == _MOST_LOADED else None
            if oldest is not None:
                oldest._table = None
            _LOADED.append(weakref.ref(self))
        return table

    def lookup(self, address: int) -> Any:
        """As :meth:`SymbolTable.lookup`."""
        return self.table.lookup(address)

    def code(self, name: str) -> int | None:
        """As :meth:`SymbolTable.code`."""
        return self.table.code(name)
