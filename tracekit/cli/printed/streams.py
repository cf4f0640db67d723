"""What a command is started with: standard streams that may be closed or broken, and the umask."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

__all__ = ["discard_output", "mask_writing", "prepare_streams", "reader_is_gone"]


class _Output(io.FileIO):
    """Remembers that its reader has gone; rich and click do not tell, they end."""

    gone = False

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            _Output.gone = True
            raise


class _Talk(io.FileIO):
    """Messages are written where anybody reads them; work does not end because nobody does."""

    def write(self, data: object, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)  # type: ignore[arg-type]
        return len(memoryview(data))  # type: ignore[arg-type]


def _fill() -> None:
    """Put /dev/null where a standard stream is closed (``2>&-``).

    Else the next file that is opened would be it, a session's, and take messages.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: fd


def _text(stream: TextIO | None, raw: io.FileIO, by_line: bool) -> io.TextIOWrapper:
    """Writes text to ``raw``, encoded as for ``stream``, which it replaces."""
    encoding = stream.encoding if stream is not None else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=by_line
    )


def prepare_streams() -> None:
    """Make all three usable: not closed, and no character that a terminal lacks is an error."""
    _fill()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as we run
    sys.stdout = _text(sys.stdout, _Output(1, "w", closefd=False), by_line=os.isatty(1))
    sys.stderr = _text(sys.stderr, _Talk(2, "w", closefd=False), by_line=True)


def reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more: ``| head``."""
    return _Output.gone


def discard_output() -> None:
    """Drop what is still buffered: it has nowhere to go, and must not fail at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def mask_writing() -> None:
    """Let nobody else write what is made here, where the umask lets everybody (``umask 000``).

    That is nobody's wish for a record: it is what programs that boot a machine begin with.
    """
    mask = os.umask(0o022)
    if mask & 0o002:
        os.umask(mask)
