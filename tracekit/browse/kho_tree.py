"""A readable tree of what each jump handed over: KHO's own data and the recovered regions.

From ``boots/N/kho/`` (what debugfs showed, or physical memory held) and ``boots/N/regions/``. The
texts are printable, of bounded length, one line each but for notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from tracekit.browse.region_fill import Fill, region_fill
from tracekit.capture.save.kernel import identity
from tracekit.errors import Diagnostic, ParseError, SessionError
from tracekit.kho.fdt import Node, parse_fdt
from tracekit.kho.luo import LUO, parse_luo
from tracekit.kho.tree import SubBlob, parse_kexec_metadata, parse_memblock, parse_tree
from tracekit.recording import Recording
from tracekit.session import safe_name
from tracekit.session.regions import listed_writers, unread_spans
from tracekit.text import printable
from tracekit.timeline.boot import Boot

__all__ = ["Item", "KhoItems", "read_kho_tree", "size_text"]

_LONGEST = 200  # characters of a text
_MOST = 256  # children that are shown
_ALL = 4096  # nodes and properties of a device tree that are shown
_HEAD = 64  # bytes of an unknown blob that are shown
_TEXT = 1 << 16  # bytes that may be a text
_RAW = re.compile(r"/(?:regions|other-copies/[^/]+)/[^/]+\.json$")
_MAGIC = b"\xd0\x0d\xfe\xed"


@dataclass(frozen=True, slots=True)
class Item:
    """A node: its label, its value, a note on it, and the nodes below it.

    ``fills``: of a recovered region, how full each CPU's buffer is. ``amiss``: something in it
    could not be read or is invalid.
    """

    label: str
    value: str = ""
    note: str = ""
    children: tuple[Item, ...] = ()
    fills: tuple[Fill, ...] = ()
    amiss: bool = False


@dataclass(frozen=True, slots=True)
class KhoItems:
    """``items`` are the tree's first level; ``without_kho`` says why if there is no KHO data."""

    items: tuple[Item, ...]
    without_kho: str


def size_text(size: int) -> str:
    """``73 bytes``, ``4 MiB``, ``1.5 GiB``."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.4g} {unit}"
    return f"{size} byte{'' if size == 1 else 's'}"


def _line(text: object) -> str:
    """One line of bounded length without control characters."""
    whole = printable(str(text)[: _LONGEST + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def _item(
    label: object,
    value: object = "",
    note: str = "",
    children: Iterable[Item] = (),
    fills: tuple[Fill, ...] = (),
    amiss: bool = False,
) -> Item:
    shown = tuple(islice(children, _MOST + 1))
    if len(shown) > _MOST:
        shown = (*shown[:_MOST], _item("…", f"more than {_MOST}: the rest is not shown"))
    return Item(_line(label), _line(value), note, shown, fills, amiss)


def _failed(label: object, error: Exception | str) -> Item:
    return _item(label, "cannot be read", printable(str(error)), amiss=True)


def _range(address: object, size: object) -> str:
    if not (isinstance(address, int) and isinstance(size, int)) or address >> 64 or size >> 64:
        return "unknown"
    return f"{address:#x}-{address + size:#x}, {size_text(size)}"


# -- device trees and blobs -------------------------------------------------------------------


def _value(raw: bytes) -> str:
    """A property: strings, a number (native-endian, as KHO writes them), or bytes."""
    texts = raw[:-1].split(b"\0") if len(raw) <= _TEXT and raw.endswith(b"\0") else [b""]
    if all(t and t.isascii() and t.decode().isprintable() for t in texts):
        return ", ".join(f'"{t.decode()}"' for t in texts[:8])
    if len(raw) in (4, 8):
        return f"{int.from_bytes(raw, 'little'):#x}"
    return f"{size_text(len(raw))}: {raw[:_HEAD].hex(' ')}" if raw else "yes"


def _tree(node: Node, budget: list[int]) -> Iterator[Item]:
    """A device tree's properties and nodes; the parser bounds its depth."""
    for name, raw in node.properties.items():
        budget[0] -= 1
        if budget[0] >= 0:
            yield _item(name, _value(raw))
    for child in node.children:
        budget[0] -= 1
        if budget[0] >= 0:
            yield _item(child.name or "/", children=_tree(child, budget))


def _unknown(data: bytes) -> Iterator[Item]:
    yield _item("size", size_text(len(data)))
    yield _item("begins with", data[:_HEAD].hex(" "))


def _memblock(data: bytes) -> Iterator[Item]:
    remarks: list[Diagnostic] = []
    regions = parse_memblock(data, "memblock", remarks.append)
    for region in regions:
        note = (
            f"The reserve_mem region {region.name!r}: {region.size} bytes of physical memory from "
            f"{region.address:#x} on, which no kernel of the chain gives to anybody else."
        )
        yield _item(region.name, _range(region.address, region.size), printable(note))
    yield from _remarks(remarks)


def _metadata(data: bytes) -> Iterator[Item]:
    remarks: list[Diagnostic] = []
    metadata = parse_kexec_metadata(data, report=remarks.append)
    yield _item("previous kernel", metadata.release)
    yield _item("kexecs with KHO", f"{metadata.kexec_count} since the last boot through firmware")
    yield _item("version", metadata.version)
    yield from _remarks(remarks)


def _luo(data: bytes) -> Iterator[Item]:
    if data.startswith(_MAGIC):
        yield from _tree(parse_fdt(data, LUO), [_ALL])
        return
    try:
        luo = parse_luo(data)
    except ParseError as error:
        yield _item("not known", note=printable(str(error)), amiss=True)
        yield from _unknown(data)
        return
    beyond = "It lies in memory that was preserved, but is not in the session."
    yield _item("compatible", luo.compatible)
    yield _item("live updates", luo.updates)
    yield _item("sessions", f"{luo.sessions:#x}" if luo.sessions else "none", beyond)
    yield _item("shared objects", f"{luo.objects:#x}" if luo.objects else "none", beyond)


def _other(data: bytes) -> Iterator[Item]:
    if data.startswith(_MAGIC):
        yield from _tree(parse_fdt(data, "blob"), [_ALL])
    else:
        yield from _unknown(data)


def _remarks(remarks: Sequence[Diagnostic]) -> Iterator[Item]:
    for one in remarks:
        yield _item(one.code, one.where, printable(one.message), amiss=one.severity != "info")


_KNOWN: dict[str, tuple[Callable[[bytes], Iterator[Item]], str]] = {
    "memblock": (_memblock, "The reserve_mem regions of the command line that were carried on."),
    "kexec-metadata": (_metadata, "What the previous kernel says of itself."),
    LUO: (_luo, "The Live Update Orchestrator: files and sessions that user space had preserved."),
}


# -- one handover -----------------------------------------------------------------------------


class _Files:
    """The KHO data that one side of a boot saved: ``boots/N/kho/in`` or ``out``."""

    def __init__(self, boot: Boot, side: str) -> None:
        self.session = boot.session
        self.base = f"boots/{boot.index}/kho/{side}"

    def __bool__(self) -> bool:
        return bool(self.session.list(f"{self.base}/"))

    def has(self, name: str) -> bool:
        return self.session.has(f"{self.base}/{name}")

    def read(self, name: str) -> bytes:
        return self.session.read(f"{self.base}/{name}")

    def blobs(self) -> list[str]:
        prefix = f"{self.base}/sub_fdts/"
        return [path.removeprefix(prefix) for path in self.session.list(prefix)]


def _blob(files: _Files, name: str, named: SubBlob | None) -> Item:
    """A blob that the root tree names (``named``), or that is only among the files."""
    read, note = _KNOWN.get(name, (_other, "A blob of a subsystem that tracekit knows nothing of."))
    value = "not in KHO's tree"
    if named is not None:
        size = "size not recorded" if named.size is None else size_text(named.size)
        value = f"{named.address:#x}, {size}"
    rel = f"sub_fdts/{safe_name(name)}"
    if not files.has(rel):
        return _item(name, value, f"{note}\nIts bytes are not in the session.")
    try:
        children = list(read(files.read(rel)))
    except (ParseError, SessionError) as error:
        return _item(name, value, f"{note}\n{printable(str(error))}", amiss=True)
    amiss = any(child.amiss for child in children)
    return _item(name, value, note, children=children, amiss=amiss)


def _root(files: _Files) -> Item:
    """KHO's tree; blobs that it does not name come last."""
    label, remarks, named = "KHO tree", list[Diagnostic](), dict[str, SubBlob]()
    note = "The device tree in which the old kernel tells the new one what it preserved, and where."
    head: list[Item] = []
    try:
        root = parse_tree(files.read("fdt"), f"{files.base}/fdt", remarks.append)
    except (ParseError, SessionError) as error:
        value, note, amiss = "cannot be read", f"{note}\n{printable(str(error))}", True
    else:
        value, amiss = ", ".join(root.compatible) or "no version", False
        named = {blob.name: blob for blob in root.blobs}
        where = "none" if root.map_address is None else f"{root.map_address:#x}"
        map_note = (
            "Where the list of all preserved pages begins. The list itself is in memory that "
            "the new kernel has used up: it is not in the session."
        )
        head = [_item("preserved memory map", where, map_note)]
    names = {safe_name(name) for name in named}
    every = [*named, *(name for name in files.blobs() if name not in names)]
    blobs = (_blob(files, name, named.get(name)) for name in every)
    return _item(label, value, note, chain(head, blobs, _remarks(remarks)), amiss=amiss)


def _scratch(files: _Files) -> Item | None:
    note = (
        "Memory that holds nothing preserved: the next kernel starts in it, until it knows "
        "which other memory it must leave alone."
    )
    try:
        both = [files.read(name) for name in ("scratch_phys", "scratch_len")]
        if max(map(len, both)) > _TEXT:
            raise ValueError(f"more than {_TEXT:,} bytes")
        texts = [one.decode("ascii", "replace").split() for one in both]
        pairs = [(int(a, 16), int(size, 16)) for a, size in zip(*texts, strict=True)]
    except ValueError as error:
        return _failed("scratch areas", f"scratch_phys and scratch_len: {error}")
    except SessionError as error:
        return _failed("scratch areas", error) if files.has("scratch_phys") else None
    children = (_item(_range(address, size)) for address, size in pairs)
    total = size_text(min(sum(size for _, size in pairs), 1 << 64))
    return _item("scratch areas", f"{len(pairs)}, {total}", note, children)


def _preserved(files: _Files) -> str:
    """The memory that the memblock blob lists, in a sentence."""
    try:
        regions = parse_memblock(files.read("sub_fdts/memblock"))
    except (ParseError, SessionError):
        return "Which memory was preserved is unknown: there is no readable memblock blob."
    if not regions:
        return "No reserve_mem region was preserved."
    total = size_text(min(sum(region.size for region in regions), 1 << 64))
    names = _line(", ".join(region.name for region in regions))
    return f"Preserved: {total} in {len(regions)} reserve_mem regions: {names}."


def _handover(old: Boot | None, new: Boot, regions: Sequence[Item]) -> Item | None:
    """What passed from ``old`` (None: not in the session) to ``new``; None if nothing did."""
    arrived = _Files(new, "in")
    sides = [_Files(old, "out")] if old is not None else []
    sources = [arrived, *sides]
    files = next((s for s in sources if s.has("fdt") or s.blobs()), None)
    if files is None and not regions:
        return None
    tree = _root(files) if files is not None else _item("KHO tree", "not in the session")
    if files is not None and files is not arrived:
        handed = "This is what the old kernel had prepared; what arrived is not in the session."
        tree = replace(tree, note=f"{tree.note}\n{handed}")
    scratch = next((s for s in map(_scratch, [*sides, _Files(new, "out")]) if s), None)
    recovered = [_recovered(regions)] if regions else []
    children = [tree, *recovered, *([scratch] if scratch else [])]
    name = f"{old.release if old else 'unknown'} → {new.release}"
    boots = f"boot {old.index} to boot {new.index}" if old else f"to boot {new.index}"
    preserved = _preserved(files) if files is not None else "KHO's own data are not in the session."
    return _item(name, boots, preserved, children)


# -- regions ----------------------------------------------------------------------------------


def _recovered(regions: Sequence[Item]) -> Item:
    note = "Copied byte for byte out of preserved memory, before anything looked at them."
    return _item("recovered regions", len(regions), note, children=regions)


def _region(recording: Recording, boot: Boot, path: str) -> tuple[str, Item]:
    """(what identifies the boot that read it, the region whose description is at ``path``)."""
    name = path.rsplit("/", 1)[-1].removesuffix(".json")
    try:
        description = boot.session.json(path)
        fills = region_fill(recording, boot, f"{path.removesuffix('.json')}.raw")
    except (ParseError, SessionError) as error:
        return "", _failed(name, error)
    facts = [
        _item("written by", f"boot {boot.index}, {boot.release}"),
        _item("known by", description.get("owner_evidence") or "unknown"),
        _item("found by", description.get("found_by") or "unknown"),
        _item("read from", description.get("carrier") or "unknown"),
        _item("sha256", description.get("sha256") or "unknown"),
    ]
    if unread := unread_spans(description):
        missing = f"{sum(n for _, n in unread)} bytes, in {len(unread)} places"
        facts.append(_item("could not be read", missing, amiss=True))
    note = f"The memory as boot {boot.index} left it." if "/regions/" in path else "Another copy."
    if len(listed_writers(description)) > 1:
        note = f"Boot {boot.index} recorded into it, and then the kernel that read it."
    where = _range(description.get("address"), description.get("size"))
    if room := sum(fill.capacity for fill in fills):
        where += f", {sum(fill.committed for fill in fills) / room:.1%} written"
    item = _item(name, where, note, facts, fills)
    return str(description.get("read_in") or ""), item


def read_kho_tree(recording: Recording, step: Callable[[int, int], None]) -> KhoItems:
    """Read what was handed over at every jump of the session.

    ``step(done, total)`` is called before each region; it may raise to end the work.
    """
    boots = recording.boots
    paths = [
        (boot, path)
        for boot in boots
        for path in recording.session.list(f"boots/{boot.index}/")
        if _RAW.search(path)
    ]
    read: list[tuple[str, Item]] = []
    for number, (boot, path) in enumerate(paths):
        step(number, len(paths))
        read.append(_region(recording, boot, path))
    items: list[Item] = []
    taken: set[str] = set()
    for number, new in enumerate(boots):
        me = identity(new.kernel)
        mine = [item for reader, item in read if me and reader == me]
        old = boots[number - 1] if number else None
        if old is None and not _Files(new, "in"):
            continue  # nothing came to the oldest boot: it read its own memory, if any
        item = _handover(old, new, mine)
        if item is not None:
            items.append(item)
            taken.add(me)
    left = [item for reader, item in read if not reader or reader not in taken]
    if left:
        items.append(_recovered(left))
    return KhoItems(tuple(items), _without(recording, [item for _, item in read]))


def _without(recording: Recording, regions: Sequence[Item]) -> str:
    if any(_Files(boot, side) for boot in recording.boots for side in ("in", "out")):
        return ""
    finders = {c.value for item in regions for c in item.children if c.label == "found by"}
    message = "The session holds no KHO data: nothing tells what one kernel handed to the next."
    if not regions:
        return f"{message} No preserved region was recovered."
    return (
        f"{message} Its regions were found by {', '.join(sorted(finders)) or 'nobody knows what'}."
    )
