"""Memory of numpy's arrays that is in a file where there is much of it."""

import mmap
from typing import Any

def begin(fd: int, held: int, small: int, mappings: list[mmap.mmap], /) -> Any:
    """Give the memory of the arrays that this thread makes from now on; returns the allocator so
    far, for :func:`restore`.

    Arrays of less than ``small`` bytes are in memory, of others ``held`` bytes together. What is
    more is mapped from the file ``fd``, which is that of the first call and stays open. An array
    keeps its memory until it ends, whatever is restored.

    Until what is returned ends, a thread takes the pages of that file and of ``mappings`` (of
    files, shared) off the process whenever there are many, also while the interpreter is held.
    """

def restore(earlier: Any, /) -> None:
    """Let ``earlier`` give the memory again."""

def failed() -> int:
    """Why the file could give no memory since :func:`begin`, as an ``errno``; 0: it could."""

def release() -> None:
    """Take the pages of the file off the process; they are read again where they are needed."""
