"""Texts by number, as programs have them: names of flags and values, and what is learned."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tracekit.ftrace.columns import packed_texts

__all__ = ["FlagTable", "Learned", "NameTable", "Table"]

Packed = tuple[bytes, bytes, bytes]
_MOST = 1 << 18  # texts that all tables have learned together
_U64 = (1 << 64) - 1


def _packed(keys: Sequence[int], texts: Sequence[str]) -> Packed:
    ends, values = packed_texts(texts)
    places = np.stack([ends[:-1], ends[1:]], axis=1)
    return np.array(keys, np.uint64).tobytes(), places.tobytes(), values


def _among(known: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of ``keys`` are in ``known``, which is sorted."""
    if not len(known):
        return np.zeros(len(keys), bool)
    where = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    same: npt.NDArray[np.bool_] = known[where] == keys
    return same


class Table:
    """Numbers and their texts."""

    def packed(self) -> Packed:
        """Keys u64, begin and end of each text i64, texts."""
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
        Learned._all.add(self)
        self.forget()

    def forget(self) -> None:
        """Forget all."""
        self._state = np.empty(0, np.uint64), np.empty((0, 2), np.int64), b""

    def packed(self) -> Packed:
        """See :class:`Table`."""
        keys, places, values = self._state
        return keys.tobytes(), places.tobytes(), values

    def learn(self, keys: npt.NDArray[np.uint64]) -> None:
        """Ask for the texts of ``keys``."""
        new = np.array(sorted(set(keys.tolist())), np.uint64)
        new = new[~_among(self._state[0], new)]
        if Learned._total + len(new) > _MOST:
            for table in list(Learned._all):
                table.forget()
            Learned._total = 0
        Learned._total += len(new)
        known, places, values = self._state
        ends, more = packed_texts([self._text(key) for key in new.tolist()])
        ends += len(values)
        where = np.searchsorted(known, new)
        self._state = (
            np.insert(known, where, new),
            np.insert(places, where, np.stack([ends[:-1], ends[1:]], axis=1), axis=0),
            values + more,
        )
