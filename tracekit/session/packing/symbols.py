"""The kernel's symbols, which take a megabyte a boot, stored once a kernel.

KASLR moves all of the image by as much, so ``symbols/ID/kallsyms`` has the kernel's own lines of
``/proc/kallsyms`` as if ``_text`` were at :data:`HOME`; ID is their sha256, cut to 32 digits.
``boots/N/kallsyms.shared`` says which and where that boot had ``_text``, in a line of JSON, and has
the lines of modules and BPF programs as they were.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from tracekit.errors import SessionError

__all__ = [
    "HOME",
    "IMAGE",
    "SHARED",
    "BootSymbols",
    "OwnSymbols",
    "SharedSymbols",
    "own_of",
    "parted",
    "split_of",
]

SHARED = ".shared"  #: comes before the suffix of the compression
HOME = 0xFFFFFFFF81000000  #: where x86-64 has ``_text`` without KASLR
IMAGE = 1 << 30  #: bytes from ``_text`` on that move: KERNEL_IMAGE_SIZE
_ALIGNED = 1 << 20  # KASLR moves by more: five digits stay as they are
_DIGITS = 11  # the others of an address
_NAME = re.compile(r"boots/[0-9]{1,3}/kallsyms")
_FILE = re.compile(r"symbols/[0-9a-f]{32}/kallsyms")
_HEX = re.compile(rb"[0-9a-f]{11}")
_TEXT = re.compile(rb"^([0-9a-f]{16}) [tT] _text$", re.M)


class SharedSymbols(NamedTuple):
    """What to store of a boot's symbols: the kernel's, by the name of that file, and its own."""

    name: str
    kernel: bytes
    own: bytes


class OwnSymbols(NamedTuple):
    """A boot's own symbols: where the kernel's are, how far from there, and all other lines."""

    name: str
    moved: int
    lines: bytes

    def whole(self, kernel: bytes) -> bytes:
        """All of ``kallsyms``; ``kernel`` is what the file of that name has."""
        blocks = _moved(kernel, len(kernel), HOME, HOME + self.moved) if self.moved else (kernel,)
        return b"".join([*blocks, self.lines])


class BootSymbols(NamedTuple):
    """A boot's symbols: what is the same for its kernel (``key`` tells which), and its own.

    Addresses in the image are ``moved`` further than ``kernel``'s lines say.
    """

    key: str
    kernel: Callable[[], bytes]
    moved: int
    lines: bytes


def _moved(text: bytes, end: int, source: int, target: int) -> Iterator[bytes]:
    """The lines up to byte ``end``, those in an image at ``source`` as if it were at ``target``.

    Many lines at a time, and no more than that in memory: a crash kernel has little.
    """
    first, last = source // _ALIGNED, (source + IMAGE - 1) // _ALIGNED
    done = 0
    for digits, lines in groupby(io.BytesIO(text), itemgetter(slice(_DIGITS))):
        if done >= end:
            return
        block = b"".join(lines)[: end - done]
        done += len(block)
        if source != target and _HEX.fullmatch(digits) and first <= int(digits, 16) <= last:
            there = b"%011x" % (int(digits, 16) + (target - source) // _ALIGNED)
            block = there + block[_DIGITS:].replace(b"\n" + digits, b"\n" + there)
        yield block


def _same(blocks: Iterable[bytes], text: bytes) -> bool:
    """Whether a text begins with the blocks."""
    done = 0
    for block in blocks:
        if not text.startswith(block, done):
            return False
        done += len(block)
    return True


def split_of(text: bytes) -> int:
    """Where the kernel's own lines end: behind them are those of modules and BPF programs."""
    tab = text.find(b"\t")  # far faster than to look for both characters
    if text[tab + 1 : tab + 2] != b"[":
        tab = text.find(b"\t[")
    return len(text) if tab < 0 else text.rfind(b"\n", 0, tab) + 1


def parted(rel: str, text: bytes) -> SharedSymbols | None:
    """How to store file ``rel``; None where it is not a boot's ``kallsyms``, or not to be moved.

    So are addresses that are hidden.
    """
    found = _TEXT.search(text) if _NAME.fullmatch(rel) else None
    at = int(found[1], 16) if found else 0
    if not at or at % _ALIGNED:
        return None
    split = split_of(text)
    kernel = b"".join(_moved(text, split, at, HOME))
    if not _same(_moved(kernel, split, HOME, at), text):  # some were there without being moved
        return None
    name = f"symbols/{hashlib.sha256(kernel).hexdigest()[:32]}/kallsyms"
    about = json.dumps({"symbols": name, "text_address": f"{at:#x}"}).encode()
    return SharedSymbols(name, kernel, about + b"\n" + text[split:])


def own_of(rel: str, stored: str, data: bytes) -> OwnSymbols | None:
    """What file ``rel`` has, stored under that name; None where it is not stored so.

    Raises :class:`~tracekit.errors.SessionError` for a damaged one.
    """
    if not (_NAME.fullmatch(rel) and stored.startswith(rel + SHARED)):
        return None
    first, _, lines = data.partition(b"\n")
    try:
        about = json.loads(first)
        name, at = about["symbols"], int(about["text_address"], 16)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise SessionError(f"{stored}: damaged: {error}") from error
    sound = isinstance(name, str) and _FILE.fullmatch(name) and 0 < at <= (1 << 64) - IMAGE
    if not sound or at % _ALIGNED:
        raise SessionError(f"{stored}: damaged: it names no symbols of a kernel")
    return OwnSymbols(name, at - HOME, lines)
