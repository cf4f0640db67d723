"""Tables of many millions of rows in bounded memory: arrays beyond a limit lie in a file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

from tracekit._native import arrays
from tracekit.spill import mappings, no_room, releasable, unnamed

__all__ = ["bounded", "spilled"]

_HELD = 32 << 20  # bytes of arrays that are not in the file
_SMALL = 256 << 10  # bytes of an array that is not worth a place in it
_FEW = 1 << 20  # events, of which all that is derived fits into memory
_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=Sized)
_ALREADY = ContextVar("_ALREADY", default=False)


class _Arrays:
    """The arrays in the file, as one thing that can be let go of."""

    def madvise(self, advice: int, /) -> None:
        if advice == mmap.MADV_DONTNEED:
            arrays.release()


@cache
def _file() -> tuple[int, _Arrays]:
    every = _Arrays()
    releasable(every)
    return unnamed(), every


@contextmanager
def spilled() -> Iterator[None]:
    """The arrays that are made meanwhile lie in a file without a name, once they are many.

    Raises :class:`~tracekit.errors.SourceError` where the disk has no room for them.
    """
    files = [one for one in mappings() if isinstance(one, mmap.mmap)]
    earlier = arrays.begin(_file()[0], _HELD, _SMALL, files)
    already = _ALREADY.set(True)
    try:
        yield
    except MemoryError as error:
        if full := arrays.failed():
            raise no_room(0, OSError(full, os.strerror(full))) from error
        raise
    finally:
        _ALREADY.reset(already)
        arrays.restore(earlier)


def bounded(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """A method of what has a length, the number of events: of many, its arrays are spilled."""

    @wraps(method)
    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if len(self) < _FEW or _ALREADY.get():
            return method(self, *args, **kwargs)
        with spilled():
            return method(self, *args, **kwargs)

    return call
