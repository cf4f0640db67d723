"""The names of one boot that rendering needs: symbols, format strings, task names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from tracekit.frozen import dataclass, field
from tracekit.ftrace.format import EventFormat

__all__ = ["Context", "NoSymbols", "Parameter", "Prototypes", "SymbolTable", "Symbolized"]

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?!\d)", re.ASCII)


class Symbolized(NamedTuple):
    """An address inside a symbol: its name, the offset into it, its size, its module or ''."""

    name: str
    offset: int
    size: int
    module: str


class SymbolTable(Protocol):
    """Looks addresses up the way ``kallsyms_lookup()`` does."""

    def lookup(self, address: int) -> Symbolized | None:
        """The symbol that holds ``address``, or None; never just the nearest one."""

    def code(self, name: str) -> int | None:
        """The address of a function or label in the kernel's code, None where there is none."""


class NoSymbols:
    """The table of a boot whose kallsyms are unknown or hidden (``kptr_restrict``)."""

    def lookup(self, address: int) -> Symbolized | None:
        """Always None."""
        return None

    def code(self, name: str) -> int | None:
        """Always None."""
        return None


class Parameter(NamedTuple):
    """Of a function: its name, its type's kind in BTF's words (``INT``: a signed one,
    ``UNSIGNED``, ``PTR``, ``STRUCT``, ...), the type's size in bytes, 0 where it has none, and the
    names of an ``ENUM``'s values.
    """

    name: str
    kind: str
    size: int
    values: Mapping[int, str] = {}


class Prototypes(Protocol):
    """What the functions of a kernel take."""

    def of(self, function: str) -> Sequence[Parameter] | None:
        """The parameters of a function of this name: none of one that the kernel does not know;
        None where nothing is known.
        """


@dataclass(frozen=True)
class Context:
    """Symbols, ``printk_formats`` (address -> string) and task names (pid -> comm) of one boot.

    ``jiffies_hz`` is CONFIG_HZ where the boot's config is known; ``options`` are the trace options
    that were on; ``gfp_format`` is an event whose print format has the kernel's names of gfp flags,
    ``eprobes`` what eprobes are attached to: ``GROUP/EVENT`` -> ``SYSTEM.EVENT``;
    ``constants`` the values of that kernel's enumerators, ``prototypes`` what its functions take,
    None where that was not saved, ``release`` its ``uname -r``.
    """

    symbols: SymbolTable = field(default_factory=NoSymbols)
    printk_formats: Mapping[int, str] = field(default_factory=dict)
    comms: Mapping[int, str] = field(default_factory=dict)
    jiffies_hz: int | None = None
    options: frozenset[str] = frozenset()
    gfp_format: EventFormat | None = None
    eprobes: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    prototypes: Prototypes | None = None
    release: str = ""

    @property
    def version(self) -> tuple[int, int] | None:
        """The kernel's version and patch level, ``(6, 12)``; None where they are not known."""
        match = _VERSION.match(self.release)
        return (int(match[1]), int(match[2])) if match else None
