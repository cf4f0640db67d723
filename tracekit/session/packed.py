"""A session as one block of memory: a header, then an archive of the directory.

For carriers that hand on memory and no files (:mod:`tracekit.carriers.luo.memfd`). The header is
written last, so a block without one was never filled. What comes out of a block goes the way of
every archive (:mod:`tracekit.session.store`): nothing in it is believed.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tracekit.errors import SessionError
from tracekit.session.files import Directory, write_all
from tracekit.session.limits import MAX_REGION
from tracekit.session.manifest import MANIFEST
from tracekit.session.names import LEFTOVER
from tracekit.session.packing.compression import compressor, preferred_suffix
from tracekit.session.parts import part_directory
from tracekit.session.store import MAX_ARCHIVE, ArchiveStore, DirectoryStore

__all__ = ["HEADER_SIZE", "frame", "pack", "unframe", "unpack"]

HEADER_SIZE = 4096  # bytes before the archive: a page, of which the header takes the beginning
_MAGIC = b"tracekit"
_VERSION = 1
_FIELDS = struct.Struct("<8sIIQ8s32s")  # magic, version, header size, archive size, suffix, sha256
_CHECK = struct.Struct("<I")  # crc32 of the fields
_SUFFIXES = (".zst", ".gz")


def frame(archive: bytes, suffix: str) -> bytes:
    """The header, :data:`HEADER_SIZE` bytes, of an archive compressed as ``suffix`` says."""
    digest = hashlib.sha256(archive).digest()
    fields = _FIELDS.pack(
        _MAGIC, _VERSION, HEADER_SIZE, len(archive), suffix.encode("ascii"), digest
    )
    return (fields + _CHECK.pack(zlib.crc32(fields))).ljust(HEADER_SIZE, b"\0")


def unframe(read: Callable[[int, int], bytes], size: int, source: str) -> tuple[bytes, str]:
    """(archive, its suffix) of a block of ``size`` bytes; ``read(offset, size)`` reads from it.

    Raises :class:`~tracekit.errors.SessionError` for a block that was never filled, is damaged or
    was written by a newer tracekit.
    """
    raw = read(0, _FIELDS.size + _CHECK.size) if size >= HEADER_SIZE else b""
    if len(raw) < _FIELDS.size + _CHECK.size:
        raise SessionError(f"{source}: {size} bytes: too short for a session")
    if not raw.strip(b"\0"):
        raise SessionError(
            f"{source}: no session was put into it: the old kernel left before 'tracekit handover' "
            "had packed its session"
        )
    magic, version, begin, length, kind, digest = _FIELDS.unpack_from(raw)
    if magic != _MAGIC:
        raise SessionError(f"{source}: no session of tracekit: it begins with {magic!r}")
    if _CHECK.unpack_from(raw, _FIELDS.size)[0] != zlib.crc32(raw[: _FIELDS.size]):
        raise SessionError(f"{source}: its header is damaged")
    if version != _VERSION:
        raise SessionError(
            f"{source}: packed by another tracekit (version {version} of the block; this one reads "
            f"{_VERSION}): recover with the tracekit that handed over"
        )
    suffix = kind.rstrip(b"\0").decode("ascii", "replace")
    if suffix not in _SUFFIXES or begin > size or not 0 < length <= min(size - begin, MAX_ARCHIVE):
        raise SessionError(f"{source}: its header makes no sense: {length} of {size} bytes")
    archive = read(begin, length)
    if hashlib.sha256(archive).digest() != digest:
        raise SessionError(f"{source}: damaged: its bytes do not have the checksum of the header")
    return archive, suffix


def pack(path: Path) -> tuple[bytes, str]:
    """(archive, its suffix) of the session directory at ``path``, files in progress included.

    Raises :class:`~tracekit.errors.SessionError`.
    """
    store, suffix = DirectoryStore(path), preferred_suffix()
    out = io.BytesIO()
    sink = compressor(out, suffix)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
        for name in sorted(store.names):
            if any(part.startswith(LEFTOVER) for part in name.split("/")):
                continue
            data = store.load(name, MAX_REGION)
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    sink.close()
    archive = out.getvalue()
    if len(archive) > MAX_ARCHIVE:
        raise SessionError(
            f"{path}: {len(archive):,} bytes packed; no more than {MAX_ARCHIVE:,} are read back: "
            "hand over with -o DIR on a disk"
        )
    return archive, suffix


def unpack(archive: Path, target: Path, **more: bytes) -> None:
    """Make session ``target``, which must not be there, of an archive; ``more`` are more files.

    It appears whole or not at all. Raises :class:`~tracekit.errors.SessionError`.
    """
    store = ArchiveStore(archive)
    if MANIFEST not in store.names:
        raise SessionError(f"{archive}: no {MANIFEST} in it: not a session")
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with part_directory(target.name, parent) as (part, _):
            directory = Directory(target.parent / part)
            try:
                _fill(directory, store, more)
            finally:
                directory.close()
            os.rename(part, target.name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
    except OSError as error:
        raise SessionError(
            f"{target}: cannot be written: {error.strerror or error}: the session is safe in "
            f"{archive}: mend that and run the same command again"
        ) from error
    finally:
        os.close(parent)


def _fill(directory: Directory, store: ArchiveStore, more: dict[str, bytes]) -> None:
    """Write every file of the archive below ``directory``, then put all of it on disk."""
    contents = {name: None for name in store.names if not name.startswith(LEFTOVER)}
    for name in contents:
        _write(directory, name, store.load(name, MAX_REGION))
    for stem, data in more.items():
        _write(directory, f"{stem}.json", data)
    directory.sync_tree("")


def _write(directory: Directory, name: str, data: bytes) -> None:
    fd = directory.create(name)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)
