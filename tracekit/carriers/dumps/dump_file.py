"""Opens a file that holds the physical memory of a machine, whatever its format."""

from __future__ import annotations

from typing import BinaryIO, cast

from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.dumps.flattened import Flattened
from tracekit.carriers.dumps.kdump import Kdump
from tracekit.carriers.dumps.signatures import HEAD, identify
from tracekit.carriers.memory import PhysicalMemory
from tracekit.errors import SourceError

__all__ = ["open_dump"]

_ELF = b"\x7fELF"


def open_dump(stream: BinaryIO, source: str) -> PhysicalMemory:
    """The memory in an ELF core or a compressed dump (KDUMP), flattened ones included.

    ``stream`` is closed with the memory that is returned, and where an error is raised:
    :class:`~tracekit.errors.SourceError`, which says what the file is instead and what to do.
    """
    try:
        head = _head(stream, source)
        known = identify(head)
        if known is not None and known.kind == "flattened":
            stream = cast(BinaryIO, Flattened(stream, source))
            head = _head(stream, source)
            known = identify(head)
        if head.startswith(_ELF):
            return ElfCore(stream, source)
        if known is not None and known.kind == "kdump":
            return Kdump(stream, source)
        what = f"it is {known.name}: {known.remedy}" if known else _unknown(head)
        raise SourceError(f"{source}: not a dump of memory that this reads: {what}")
    except BaseException:
        stream.close()
        raise


def _head(stream: BinaryIO, source: str) -> bytes:
    try:
        stream.seek(0)
        head = stream.read(HEAD) or b""
        stream.seek(0)
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from error
    return head


def _unknown(head: bytes) -> str:
    if not head:
        return "it is empty: what made it failed (kdump-tools calls that saved all the same)"
    return (
        f"it begins with {head[:8].hex(' ')}, which no ELF core or dump of makedumpfile does. "
        "Where it is plain memory (QEMU's pmemsave), name the physical address that it begins at: "
        "FILE@ADDRESS"
    )
