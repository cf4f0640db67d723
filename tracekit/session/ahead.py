"""Files read before they are asked for, in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event, Thread

__all__ = ["Ahead", "read_ahead"]


class Ahead:
    """What reading a file will give. ``concurrent.futures`` is slow to import."""

    def __init__(self) -> None:
        self._ended = Event()
        self._data: bytes | None = None
        self._error: BaseException | None = None

    def run(self, read: Callable[[str], bytes], name: str) -> None:
        """Read the file."""
        try:
            self._data = read(name)
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
            del self

    def result(self) -> bytes:
        """What was read, when it was; raises what reading it raised."""
        self._ended.wait()
        try:
            if self._error is not None:
                raise self._error
            assert self._data is not None
            return self._data
        finally:
            del self  # which the error would keep, and it the error


def read_ahead(read: Callable[[str], bytes], names: Iterable[str]) -> dict[str, Ahead]:
    """Begin to read files, one after the other."""
    begun = {name: Ahead() for name in names}
    waiting = list(begun.items())

    def run() -> None:
        while waiting:
            name, ahead = waiting.pop(0)
            ahead.run(read, name)

    if begun:
        Thread(target=run).start()
    return begun
