"""Texts by number, as programs have them: names of flags and values, and what is learned."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tracekit.ftrace.columns import packed_texts

__all__ = ["FlagTable", "Learned", "NameTable", "Table"]

Packed = tuple[bytes, bytes, bytes]
_MOST = 1 << 18  # texts that all tables have learned together
_U64 = (1 << 64) - 1


def _packed(keys: Sequence[int], texts: Sequence[str | bytes]) -> Packed:
    ends, values = packed_texts(texts)
    return np.array(keys, np.uint64).tobytes(), ends.tobytes(), values


class Table:
    """Numbers and their texts."""

    def packed(self) -> Packed:
        """Keys u64, offsets i64, texts."""
        raise NotImplementedError


class FlagTable(Table):
    """Masks and names in the order of a format, then the delimiter."""

    def __init__(self, entries: Iterable[tuple[int, str]], delimiter: str) -> None:
        pairs = [*entries, (0, delimiter)]
        self._packed = _packed([mask for mask, _ in pairs], [name for _, name in pairs])

    def packed(self) -> Packed:
        """See :class:`Table`."""
        return self._packed


class NameTable(Table):
    """All numbers that have a name."""

    def __init__(self, names: Mapping[int, str]) -> None:
        keys = sorted(names)
        self._packed = _packed(keys, [names[key] for key in keys])

    def packed(self) -> Packed:
        """See :class:`Table`."""
        return self._packed


class Learned(Table):
    """Texts that a function knows; each number is asked for once, when it first occurs.

    What all tables know together is bounded: they forget it when it is too much.
    """

    _all: weakref.WeakSet[Learned] = weakref.WeakSet()
    _total = 0

    def __init__(self, text: Callable[[int], str]) -> None:
        self._text = text
        self._known: dict[int, bytes] = {}  # in UTF-8
        self._current: Packed | None = None
        Learned._all.add(self)

    def packed(self) -> Packed:
        """See :class:`Table`."""
        if self._current is None:
            keys = sorted(self._known)
            self._current = _packed(keys, [self._known[key] for key in keys])
        return self._current

    def learn(self, keys: Iterable[int]) -> None:
        """Ask for the texts of ``keys``."""
        new = {key: self._encoded(key) for key in set(keys) - self._known.keys()}
        if Learned._total + len(new) > _MOST:
            for table in list(Learned._all):
                table.forget()
            Learned._total = 0
        Learned._total += len(new)
        self._known.update(new)
        self._current = None

    def _encoded(self, key: int) -> bytes:
        return self._text(key).encode("utf-8", "backslashreplace")

    def forget(self) -> None:
        """Forget all."""
        self._known.clear()
        self._current = None
