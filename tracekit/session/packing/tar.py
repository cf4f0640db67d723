"""Tar archives: where their files lie, and new ones: ustar, with the long names of GNU and of pax.

:mod:`tarfile` does the same, but takes a quarter of a second over the 2,700 files of a session,
which is a quarter of what ``tracekit demo`` may take in all.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracekit.errors import SessionError

__all__ = ["tar_archive", "tar_members"]

_BLOCK = 512
_REGULAR = (b"0", b"\0")
_GNU_NAME, _PAX = b"L", b"x"


def _octal(field: bytes) -> int:
    """A number in a header: octal digits, or base 256 when the first bit is set (GNU)."""
    if field[:1] >= b"\x80":
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):  # int() also takes a sign, with which an archive has no end
        raise ValueError(f"not a number: {digits[:16]!r}")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax_path(records: bytes) -> str | None:
    """The ``path`` in a pax header, whose records are ``LENGTH KEYWORD=VALUE`` lines."""
    offset = 0
    while offset < len(records):
        digits = records[offset : offset + 8].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        if length <= len(digits) or offset + length > len(records):
            raise ValueError("a damaged pax header")
        keyword, _, value = records[offset + len(digits) + 1 : offset + length].partition(b"=")
        if keyword == b"path":
            return value.removesuffix(b"\n").decode("utf-8", "backslashreplace")
        offset += length
    return None


def tar_members(data: bytes, source: str, limit: int) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of every regular file in the archive; of two with one name, the last.

    Everything else (directories, links, devices) is left out. Raises
    :class:`~tracekit.errors.SessionError` when it is not a tar archive, is cut off or has more than
    ``limit`` entries.
    """
    members: dict[str, tuple[int, int]] = {}
    long_name: str | None = None
    offset = entries = 0
    try:
        while offset + _BLOCK <= len(data):
            header = data[offset : offset + _BLOCK]
            if not header.strip(b"\0"):
                break
            if header[257:262] != b"ustar":
                raise ValueError("no tar header")
            size, kind, start = _octal(header[124:136]), header[156:157], offset + _BLOCK
            entries += 1
            if start + size > len(data) or entries > limit:
                raise ValueError(f"cut off, or more than {limit} entries")
            if kind in (_GNU_NAME, _PAX):
                body = data[start : start + size]
                long_name = _text(body) if kind == _GNU_NAME else _pax_path(body) or long_name
            else:
                # POSIX has a prefix where GNU ("ustar  ") has other fields.
                prefix = _text(header[345:500]) if header[262:264] != b" \0" else ""
                short = _text(header[:100])
                name = long_name or (f"{prefix}/{short}" if prefix else short)
                if kind in _REGULAR:
                    members[name.removeprefix("./")] = (start, size)
                long_name = None
            offset = start + (size + _BLOCK - 1) // _BLOCK * _BLOCK
    except ValueError as error:
        raise SessionError(f"{source}: not a tar archive: at byte {offset}: {error}") from error
    return members


def _header(name: bytes, size: int, kind: bytes) -> bytes:
    """A header of GNU tar's form, for a name that fits into it."""
    fields = (
        name.ljust(100, b"\0"), b"0000600\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
        b"00000000000\0", b"        ", kind, bytes(100), b"ustar  \0",
    )  # fmt: skip
    header = b"".join(fields).ljust(_BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def tar_archive(files: Mapping[str, bytes]) -> bytes:
    """An archive of the files, by name; the same files give the same bytes."""
    parts: list[bytes] = []
    for name, data in sorted(files.items()):
        encoded = name.encode()
        if len(encoded) > 99:
            long = encoded + b"\0"
            parts += [_header(b"././@LongLink", len(long), _GNU_NAME), _padded(long)]
        parts += [_header(encoded[:99], len(data), _REGULAR[0]), _padded(data)]
    parts.append(bytes(2 * _BLOCK))
    return b"".join(parts)
