"""Writes the cpio archive that the kernel unpacks as its initramfs.

The format is "newc": ``Documentation/driver-api/early-userspace/buffer-format.rst`` and
``init/initramfs.c`` in the kernel's source.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Member", "newc"]

_TRAILER = "TRAILER!!!"


class Member(NamedTuple):
    """A file or directory; ``mode`` has its type (``stat.S_IFREG``, ``S_IFDIR``)."""

    name: str
    mode: int
    data: bytes = b""


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _member(inode: int, member: Member) -> bytes:
    name = member.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, member.mode, 0, 0, links, 0, len(member.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(member.data)


def newc(members: Iterable[Member]) -> bytes:
    """The archive: members in the given order (a directory before what is in it), owned by root."""
    body = b"".join(_member(number, member) for number, member in enumerate(members, 1))
    return body + _member(0, Member(_TRAILER, 0))
