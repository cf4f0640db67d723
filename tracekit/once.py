"""Values that a cache keeps by a key, made by something that it does not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Once"]

_T = TypeVar("_T")


class Once(Generic[_T]):
    """An argument for a function with :func:`functools.lru_cache`: equal to those of its ``key``.

    ``make`` is forgotten once it was called, so a session is not kept by what was read of it.
    """

    def __init__(self, key: object, make: Callable[[], _T]) -> None:
        self._key = key
        self._make: Callable[[], _T] | None = make

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Once) and other._key == self._key

    def take(self) -> _T:
        """The value; to be called once."""
        make, self._make = self._make, None
        assert make is not None
        return make()
