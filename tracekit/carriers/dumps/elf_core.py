"""Physical memory read from an ELF core: ``/proc/kcore``, ``/proc/vmcore`` or a saved one.

A PT_LOAD segment holds the physical range [p_paddr, p_paddr + p_filesz) at file offset p_offset;
``p_paddr == 2**64 - 1`` marks ranges without one (``read_kcore_iter()`` in ``fs/proc/kcore.c``
writes it for vmalloc and module memory). Offline, poisoned and unaccepted pages read as zeros.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from tracekit.carriers.dumps.signatures import HEAD, identify
from tracekit.carriers.memory import PhysicalMemory, Range
from tracekit.errors import SourceError

__all__ = ["ElfCore", "VirtualMemory"]

_NO_ADDRESS = (1 << 64) - 1
_MAX_SEGMENTS = 1 << 16  # PN_XNUM would take the count from elsewhere; no kernel writes that many
_MAX_OFFSET = (1 << 63) - 1
_HEADER = 56  # sizeof(Elf64_Phdr)
_NOTE = struct.Struct("<III")  # namesz, descsz, type
_MAX_NOTES = 16 << 20  # one of 400 bytes for each CPU, and VMCOREINFO
_NT_PRSTATUS = 1
# pr_pid of struct elf_prstatus (include/uapi/linux/elfcore.h) where longs have 64 bits
_PID, _PID_AT = struct.Struct("<i"), 32


class ElfCore(PhysicalMemory):
    """The physical memory an ELF core holds; ``ranges`` are its segments."""

    def __init__(self, stream: BinaryIO, source: str) -> None:
        """Read the program headers of ``stream``; ``source`` names it in errors.

        Raises :class:`~tracekit.errors.SourceError` when it is not a 64-bit little-endian ELF core.
        """
        headers = _headers(stream, source)
        super().__init__(stream, source, _segments(headers, "p_paddr"))
        notes = list(_notes(self._note_bytes(headers)))
        self.vmcoreinfo = next((data for name, _, data in notes if name == b"VMCOREINFO"), b"")
        # QEMU numbers CPUs there
        if not any(name == b"QEMU" for name, _, _ in notes):
            self.current_pids = tuple(
                _PID.unpack_from(data, _PID_AT)[0]
                for name, kind, data in notes
                if (name, kind) == (b"CORE", _NT_PRSTATUS) and len(data) >= _PID_AT + _PID.size
            )

    def hole(self, address: int, size: int) -> int:
        """How many bytes from ``address`` on are in a hole of the file: zeros that take no room."""
        offset, length = next(self._pieces(address, size), (None, 0))
        if offset is None:
            return length
        try:
            fd = self._stream.fileno()
            position = os.lseek(fd, 0, os.SEEK_CUR)
            try:
                return min(length, os.lseek(fd, offset, os.SEEK_DATA) - offset)
            finally:
                os.lseek(fd, position, os.SEEK_SET)  # where the stream believes to be
        except OSError as error:
            return length if error.errno == errno.ENXIO else 0  # ENXIO: no data up to the end

    def _note_bytes(self, headers: list[Any]) -> bytes:
        """The first segment of notes; b'' without one that can be read."""
        for header in headers:
            offset, size = header["p_offset"], min(header["p_filesz"], _MAX_NOTES)
            if header["p_type"] == "PT_NOTE" and offset + size <= _MAX_OFFSET:
                try:
                    return self._read_at(offset, size)
                except SourceError:
                    break
        return b""


class VirtualMemory(PhysicalMemory):
    """The kernel's virtual memory that an ELF core holds: its ``ranges`` are virtual ones."""

    def __init__(self, stream: BinaryIO, source: str) -> None:
        """As of :class:`ElfCore`."""
        super().__init__(stream, source, _segments(_headers(stream, source), "p_vaddr"))


def _notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(name, type, content) of each note, up to one that is cut off."""
    offset = 0
    while offset + _NOTE.size <= len(data):
        name_size, size, kind = _NOTE.unpack_from(data, offset)
        start = offset + _NOTE.size
        offset = start + (name_size + 3 & ~3)
        if offset + size > len(data):
            return
        yield data[start : start + name_size].rstrip(b"\0"), kind, data[offset : offset + size]
        offset += size + 3 & ~3


def _headers(stream: BinaryIO, source: str) -> list[Any]:
    from elftools.common.utils import struct_parse
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(stream)
        count, first, step = elf["e_phnum"], elf["e_phoff"], elf["e_phentsize"]
        usable = elf.elfclass == 64 and elf.little_endian and elf["e_type"] == "ET_CORE"
        # One that overlaps the next would make 65,535 headers of a file of some bytes.
        usable &= step == _HEADER or not count
        if not usable or count > _MAX_SEGMENTS:
            raise SourceError(
                f"{source}: not a core this reads: {elf.elfclass}-bit, {elf['e_type']}, "
                f"{count} segments with headers of {step} bytes"
            )
        # The headers alone: get_segment() would follow what untrusted segments point to.
        return [
            struct_parse(elf.structs.Elf_Phdr, stream, first + number * step)
            for number in range(count)
        ]
    except SourceError:
        raise
    except Exception as error:  # pyelftools on rubbish raises nearly anything
        raise SourceError(f"{source}: not an ELF core: {_what(stream, error)}") from error


def _segments(headers: list[Any], field: str) -> list[Range]:
    return [
        Range(header[field], size, header["p_offset"])
        for header in headers
        if header["p_type"] == "PT_LOAD"
        and header[field] != _NO_ADDRESS
        and (size := min(header["p_filesz"], header["p_memsz"])) > 0
        and header[field] + size <= 1 << 64
        and header["p_offset"] + size <= _MAX_OFFSET
    ]


def _what(stream: BinaryIO, error: Exception) -> str:
    """What the file is instead, and the next step; ``error`` where that is not known."""
    try:
        stream.seek(0)
        known = identify(stream.read(HEAD))
    except OSError:
        known = None
    return f"it is {known.name}: {known.remedy}" if known else str(error)
