"""Memory that the user names: a region in a file or a device, or a dump of a whole machine.

What is in a file says nothing of the kernel that reads it, which may be another machine's.

read() serves what can be read: a page of a file or of a block device that cannot be is an error
there, but the end of the process where it is mapped. What only can be mapped is mapped: character
devices of ``drivers/dax/device.c`` have no read(), nor have files of guestmemfs.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from tracekit.carriers.carrier import Source
from tracekit.carriers.device_memory import mapped
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.dumps.signatures import identify
from tracekit.carriers.memory import PhysicalMemory, Range
from tracekit.carriers.ring_header import HEADER, ring_size
from tracekit.errors import SourceError
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec
from tracekit.sysroot import Sysroot

__all__ = ["FILE", "FileMemory", "is_device", "open_file", "open_memory", "open_region"]

FILE = "file"  #: the name of such a source, as ``carrier`` is saved
_ELF = b"\x7fELF"
_UNREADABLE = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
_UNIT = 2 << 20  # bytes that a DAX device is mapped in where sysfs does not say


def is_device(path: str) -> bool:
    """Whether a path is a block or character device of this machine."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


def open_file(path: str) -> BinaryIO:
    """Open a file or a device to be read. Raises :class:`~tracekit.errors.SourceError`."""
    try:
        # O_NONBLOCK: a FIFO must not hang the reader.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SourceError(f"{path}: cannot be opened: {why}") from error
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode)):
        os.close(fd)
        what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a device"
        raise SourceError(f"{path}: {what}: memory is in a file or in a device")
    return os.fdopen(fd, "rb", buffering=0)


class FileMemory(PhysicalMemory):
    """A file as memory from ``address`` on. Closing it closes the file.

    ``size`` is in bytes, None where it is not known: of a character device that sysfs does not
    tell of.
    """

    def __init__(self, stream: BinaryIO, source: str, address: int = 0) -> None:
        """``source`` names ``stream`` in errors. Raises :class:`~tracekit.errors.SourceError`."""
        status = os.fstat(stream.fileno())
        self._character = stat.S_ISCHR(status.st_mode)
        self.size: int | None
        self.size, self._unit = (
            _dax(status.st_rdev) if self._character else (_end(stream, source), 0)
        )
        last = (1 << 63) - 1 if self.size is None else self.size
        last = min(last, (1 << 64) - address)
        super().__init__(stream, source, [Range(address, last, 0)] if last > 0 else [])

    def _read_at(self, offset: int, size: int) -> bytes:
        if self.size is not None:
            size = min(size, max(0, self.size - offset))
        fd = self._stream.fileno()
        try:
            return os.pread(fd, size, offset)
        except (OSError, OverflowError) as error:
            number = error.errno if isinstance(error, OSError) else 0
            if not size or not (self._character or number in _UNREADABLE):
                raise SourceError(self._failed(offset, size, error)) from error
            try:
                return mapped(fd, offset, size, self._unit)
            except (OSError, ValueError, OverflowError) as mapping:
                raise SourceError(
                    f"{self._failed(offset, size, error)}; nor can they be mapped: {mapping}"
                ) from mapping

    def _failed(self, offset: int, size: int, error: Exception) -> str:
        why = getattr(error, "strerror", None) or error
        return f"{self.source}: reading {size} bytes at offset {offset:#x}: {why}"


def _end(stream: BinaryIO, source: str) -> int:
    try:
        return stream.seek(0, io.SEEK_END)
    except OSError as error:
        raise SourceError(f"{source}: its size is not known: {error.strerror}") from error


def _dax(device: int) -> tuple[int | None, int]:
    """(size, the unit that it is mapped in) of a DAX device, as its directory in sysfs has them.

    The size is None for another character device.
    """
    numbers = []
    for name in ("size", "align"):
        try:
            text = Sysroot().get(f"sys/dev/char/{os.major(device)}:{os.minor(device)}/{name}")
        except SourceError:
            return None, _UNIT
        value = (text or b"").strip()
        if not value.isdigit() or len(value) > 20:
            return None, _UNIT
        numbers.append(int(value))
    size, unit = numbers
    return size, unit if unit and not unit & (unit - 1) else _UNIT


def open_memory(named: MemoryFile) -> Source:
    """A machine's memory: a dump, or plain memory from the address on that was given.

    Raises :class:`~tracekit.errors.SourceError`.
    """
    stream = open_file(named.path)
    if named.address is None:
        return Source(FILE, open_dump(stream, named.path))
    try:
        memory = FileMemory(stream, named.path, named.address)
        if memory.size == 0:
            raise SourceError(f"{named.path}: it is empty")
        if memory.size is not None:
            _refuse_dumps(memory, memory.read(named.address, min(memory.size, HEADER)))
    except SourceError:
        stream.close()
        raise
    return Source(FILE, memory)


def _refuse_dumps(memory: PhysicalMemory, head: bytes) -> None:
    """Raise where memory that is taken for plain begins as a dump or a compressed file does."""
    known = identify(head)
    if head.startswith(_ELF) or (known is not None and known.kind in ("kdump", "flattened")):
        raise SourceError(
            f"{memory.source}: it is {known.name if known else 'an ELF core'}, not plain memory: "
            "give it as --memory FILE and its region as --region NAME@ADDRESS:SIZE"
        )
    if known is not None and known.kind != "ramoops":
        raise SourceError(f"{memory.source}: it is {known.name}: {known.remedy}")


def open_region(named: FileRegion) -> tuple[RegionSpec, Source]:
    """(where the region is in the file, the file); ``address`` is the offset there.

    Without a size it has that of the ring buffer in it, where its header tells, else it goes to
    the end. Raises :class:`~tracekit.errors.SourceError`.
    """
    stream = open_file(named.path)
    try:
        memory = FileMemory(stream, named.path)
        room = None if memory.size is None else memory.size - named.offset
        if room is not None and room <= 0:
            raise SourceError(
                f"{named.path}: has {memory.size} bytes: there is nothing at offset "
                f"{named.offset:#x}"
            )
        wanted = named.size
        if wanted is not None and room is not None and wanted > room:
            raise SourceError(
                f"{named.path}: has {memory.size} bytes: {wanted} bytes at offset "
                f"{named.offset:#x} are more than there are"
            )
        head = memory.read(named.offset, min(room or HEADER, HEADER))
        if named.offset == 0:
            _refuse_dumps(memory, head)
        if wanted is None:
            wanted = _size(named, head, room)
        return RegionSpec(named.name, named.offset, wanted), Source(FILE, memory)
    except SourceError:
        stream.close()
        raise


def _size(named: FileRegion, head: bytes, room: int | None) -> int:
    own = ring_size(head)
    if room is None:
        if own is None:
            raise SourceError(
                f"{named.path}: its size is not known, and no ring buffer tells its own: name it, "
                f"{named.name}@file:{named.path}:{named.offset:#x}:SIZE"
            )
        return own
    return min(own or room, room)
