"""The canary: memory filled with what a seed tells, in which a stray write shows.

A device that is left running may still do DMA while one kernel goes and the next comes. Every page
of the canary holds a hash of the seed and of its own number, again and again: a page that turns up
in another place is recognised, and so is any byte that changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Literal

from tracekit.errors import ParseError
from tracekit.frozen import dataclass
from tracekit.session.files import dump_json

__all__ = [
    "LUO_SESSION",
    "LUO_TOKEN",
    "MOST_BYTES",
    "PAGE",
    "Canary",
    "Change",
    "Findings",
    "Physical",
    "chunks",
    "examine",
    "read_document",
]

LUO_SESSION = "tracekit-canary"
LUO_TOKEN = 1
PAGE = 4096
_BLOCK = 64  # bytes of a hash; a page holds it 64 times
_CHUNK = 256  # pages that are filled or read at a time
MOST_BYTES = 1 << 40
_MOST_SPANS = 1 << 16  # of physical memory that are kept
_MOST_CHANGES = 64  # that are described; all are counted
_SHOWN = 64  # bytes of a change
_APART = 8  # equal bytes between two writes; fewer are taken for chance
_U64 = 1 << 64
Place = Literal["luo", "carveout"]


@dataclass(frozen=True, slots=True)
class Physical:
    """``size`` bytes from ``offset`` of the canary on lie at ``address`` of physical memory."""

    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """``size`` bytes from ``offset`` on that changed; ``found`` and ``expected`` begin them (hex).

    ``address`` is the physical one, None where it is not known. ``moved_from``: the offset of the
    canary's page that was found here whole, None where it is not one.
    """

    offset: int
    address: int | None
    size: int
    found: str
    expected: str
    moved_from: int | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What became of a canary: ``problem`` says why it could not be read, '' where it was.

    ``changed`` bytes in ``places`` stretches, of which the first ones are ``changes``; ``read_in``
    is the boot id of who looked.
    """

    read_in: str
    changed: int = 0
    places: int = 0
    changes: tuple[Change, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """``boots/N/canary.json``: what boot N filled, and what was found of it in the next.

    ``physical`` is empty where the addresses are not known.
    """

    seed: str
    size: int
    place: Place
    physical: tuple[Physical, ...] = ()
    findings: Findings | None = None

    def encode(self) -> bytes:
        """The file's bytes."""
        return dump_json({"page_size": PAGE, **asdict(self)})

    def address_of(self, offset: int) -> int | None:
        """The physical address of a byte; None where it is not known."""
        for span in self.physical:
            if span.offset <= offset < span.offset + span.size:
                return span.address + offset - span.offset
        return None


def _block(seed: bytes, page: int) -> bytes:
    return hashlib.blake2b(page.to_bytes(8, "little"), digest_size=_BLOCK, key=seed).digest()


def chunks(seed: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of the pattern, in order, up to a MiB at a time; ``seed``: 1 to 64 bytes."""
    pages = size // PAGE
    for first in range(0, pages, _CHUNK):
        part = range(first, min(first + _CHUNK, pages))
        yield first * PAGE, b"".join(_block(seed, page) * (PAGE // _BLOCK) for page in part)


@dataclass(slots=True)
class _Stretch:
    """A stretch that changed; ``page`` is what the page it begins in begins with now."""

    offset: int
    size: int
    found: bytes
    expected: bytes
    page: bytes


def examine(canary: Canary, read: Callable[[int, int], bytes], read_in: str) -> Findings:
    """Compare the canary's memory with its pattern; ``read(offset, size)`` gives all that is asked.

    Stretches of changed bytes that touch each other are one.
    """
    seed = bytes.fromhex(canary.seed)
    changed = places = 0
    kept: list[_Stretch] = []
    end = -1
    for offset, expected in chunks(seed, canary.size):
        found = read(offset, len(expected))
        for start, size in _stretches(found, expected) if found != expected else ():
            begin, changed = offset + start, changed + size
            if begin != end:
                places += 1
                if places <= _MOST_CHANGES:
                    page = start - start % PAGE
                    shown = slice(start, start + min(size, _SHOWN))
                    head = found[page : page + _BLOCK]
                    kept.append(_Stretch(begin, size, found[shown], expected[shown], head))
            elif places <= _MOST_CHANGES:
                kept[-1].size += size
            end = begin + size
    origins = _origins(seed, canary.size, {s.page for s in kept if s.size > PAGE - _BLOCK})
    changes = tuple(
        Change(s.offset, canary.address_of(s.offset), s.size, s.found.hex(), s.expected.hex(),
               origins.get(s.page) if s.size > PAGE - _BLOCK else None)
        for s in kept
    )  # fmt: skip
    return Findings(read_in, changed, places, changes)


def _stretches(found: bytes, expected: bytes) -> Iterator[tuple[int, int]]:
    """(offset, size) of what differs; bytes in between that are equal by chance belong to it."""
    found = found.ljust(len(expected), b"\0")
    begin = last = -1
    for block in range(0, len(expected), _BLOCK):
        if found[block : block + _BLOCK] == expected[block : block + _BLOCK]:
            continue
        for at in range(block, block + _BLOCK):
            if found[at] == expected[at]:
                continue
            if begin >= 0 and at - last > _APART:
                yield begin, last + 1 - begin
                begin = at
            begin, last = at if begin < 0 else begin, at
    if begin >= 0:
        yield begin, last + 1 - begin


def _origins(seed: bytes, size: int, pages: set[bytes]) -> dict[bytes, int]:
    """Where in the canary the pages that begin so belong; others are left out."""
    numbers = range(size // PAGE) if pages else ()
    blocks = ((_block(seed, number), number * PAGE) for number in numbers)
    return {block: offset for block, offset in blocks if block in pages}


# -- the file -----------------------------------------------------------------------------------


def _whole(value: object, limit: int = _U64) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"{str(value)[:40]!r} is no size or address")
    return value


def _text(value: object, longest: int = 4096) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("a text is missing or too long")
    return value


def _hex(value: object, longest: int) -> str:
    return bytes.fromhex(_text(value, 2 * longest)).hex()


def _objects(value: object, most: int) -> Iterable[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value[:most]):
        raise ValueError("a list is missing or damaged")
    return value[:most]


def _change(entry: Mapping[str, Any]) -> Change:
    address, moved = entry.get("address"), entry.get("moved_from")
    return Change(
        _whole(entry.get("offset")),
        None if address is None else _whole(address),
        _whole(entry.get("size")),
        _hex(entry.get("found"), _SHOWN),
        _hex(entry.get("expected"), _SHOWN),
        None if moved is None else _whole(moved),
    )


def _findings(document: object) -> Findings | None:
    if document is None:
        return None
    if not isinstance(document, Mapping):
        raise ValueError("its findings are no object")
    return Findings(
        _text(document.get("read_in"), 128),
        _whole(document.get("changed")),
        _whole(document.get("places")),
        tuple(_change(entry) for entry in _objects(document.get("changes"), _MOST_CHANGES)),
        _text(document.get("problem")),
    )


def read_document(data: bytes, source: str) -> Canary:
    """Read ``canary.json``; raises :class:`~tracekit.errors.ParseError` for a damaged one."""
    try:
        document = json.loads(data)
        if not isinstance(document, Mapping):
            raise ValueError("no object")
        size, place = _whole(document.get("size"), MOST_BYTES + 1), document.get("place")
        seed = _hex(document.get("seed"), 64)
        if place not in ("luo", "carveout") or size % PAGE or not size or not seed:
            raise ValueError("its place, size or seed makes no sense")
        spans = (
            Physical(*(_whole(entry.get(key)) for key in ("offset", "address", "size")))
            for entry in _objects(document.get("physical"), _MOST_SPANS)
        )
        return Canary(seed, size, place, tuple(spans), _findings(document.get("findings")))
    except (ValueError, RecursionError) as error:
        raise ParseError(f"{source}: damaged: {error}") from error
