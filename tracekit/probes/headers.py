"""The kernel headers that BCC compiles the programs with.

The programs take no type from the kernel: offsets and names come from BTF, helpers from BCC. What
BCC itself includes on top of that is little, and is written anew in ``bpf/headers``. So a kernel's
own headers are only a second choice, for an architecture or a BCC that needs more of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracekit.sysroot import Sysroot

__all__ = ["SOURCE", "Headers", "header_choices", "installed_headers"]

#: Names BCC a kernel source directory (``src/cc/frontends/clang/loader.cc`` of BCC).
SOURCE = "BCC_KERNEL_SOURCE"
_OWN = Path(__file__).parent / "bpf" / "headers"
_MACHINES = frozenset({"x86_64", "aarch64"})  # whose registers uapi/linux/ptrace.h there describes


class Headers(NamedTuple):
    """A tree of headers: ``place`` is where it is, ``own`` whether it is the one that ships."""

    place: str
    own: bool

    def content(self) -> bytes:
        """Every file's path and text, to tell this tree from another."""
        root = Path(self.place)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return b"".join(
            b"%s %d\n%s" % (os.fsencode(path.relative_to(root)), len(text), text)
            for path in files
            for text in (path.read_bytes(),)
        )

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """While this lasts, BCC compiles with these headers."""
        before = os.environ.get(SOURCE)
        if self.own:
            os.environ[SOURCE] = self.place
        try:
            yield
        finally:
            if self.own and before is None:
                del os.environ[SOURCE]
            elif before is not None:
                os.environ[SOURCE] = before


def installed_headers(root: Sysroot, release: str) -> Headers | None:
    """The headers of kernel ``release`` that BCC finds by itself; None where there are none."""
    places = (f"lib/modules/{release}/build", "sys/kernel/kheaders.tar.xz")
    for place, part in zip(places, ("include", ""), strict=True):
        if release and root.exists(f"{place}/{part}".rstrip("/")):
            return Headers(root.where(place), own=False)
    return None


def header_choices(root: Sysroot, release: str, machine: str) -> tuple[Headers, ...]:
    """The trees to compile with, the best first; of ``$BCC_KERNEL_SOURCE`` alone where it is set.

    Empty where the kernel has none and ``machine`` (``uname -m``) is not described in tracekit's.
    """
    if named := os.environ.get(SOURCE):
        return (Headers(named, own=False),)
    own = Headers(str(_OWN), own=True) if machine in _MACHINES and _OWN.is_dir() else None
    return tuple(tree for tree in (own, installed_headers(root, release)) if tree is not None)
