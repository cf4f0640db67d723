"""A readable tree of what each jump handed over: KHO's own data and the recovered regions.

From ``boots/N/kho/`` (what debugfs showed, or physical memory held) and ``boots/N/regions/``. The
texts are printable, of bounded length, one line each but for notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import chain

from tracekit.browse.region_fill import Fill, region_fill
from tracekit.capture.kho.arrival import compare
from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.inspect import sections
from tracekit.capture.kho.saved import from_session
from tracekit.errors import Diagnostic, ParseError, SessionError
from tracekit.frozen import dataclass
from tracekit.kho.blobs import blob_items, blob_note
from tracekit.kho.item import Item, item, one_line, range_text, size_text, unreadable
from tracekit.kho.memory import Reader, nowhere, saved_pages
from tracekit.kho.scratch import parse_scratch
from tracekit.kho.tree import SubBlob, parse_memblock, parse_tree
from tracekit.kho.tree_items import remark_items
from tracekit.recording import Recording
from tracekit.session import safe_name
from tracekit.session.identity import identity
from tracekit.session.regions import listed_writers, unread_spans
from tracekit.timeline.boot import Boot

__all__ = ["Item", "KhoItems", "RegionItem", "read_kho_tree", "size_text"]

_RAW = re.compile(r"/(?:regions|other-copies/[^/]+)/[^/]+\.json$")


@dataclass(frozen=True, slots=True)
class RegionItem(Item):
    """A recovered region; ``fills``: how full each CPU's buffer is."""

    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True, slots=True)
class KhoItems:
    """``items`` are the tree's first level; ``without_kho`` says why if there is no KHO data."""

    items: tuple[Item, ...]
    without_kho: str


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

    def memory(self) -> Reader:
        """What blobs point to, as far as it was saved. Raises what :meth:`read` does."""
        data = self.read("memory.bin") if self.has("memory.bin") else b""
        return saved_pages(data, f"{self.base}/memory.bin") if data else nowhere

    def blobs(self) -> list[str]:
        prefix = f"{self.base}/sub_fdts/"
        return [path.removeprefix(prefix) for path in self.session.list(prefix)]


def _blob(files: _Files, name: str, named: SubBlob | None) -> Item:
    """A blob that the root tree names (``named``), or that is only among the files."""
    note, value = blob_note(name), "not in KHO's tree"
    if named is not None:
        size = "size not recorded" if named.size is None else size_text(named.size)
        value = f"{named.address:#x}, {size}"
    rel = f"sub_fdts/{safe_name(name)}"
    if not files.has(rel):
        return item(name, value, f"{note}\nIts bytes are not in the session.")
    try:
        children = blob_items(name, files.read(rel), files.memory())
    except (ParseError, SessionError) as error:
        return item(name, value, f"{note}\n{error}", amiss=True)
    amiss = any(child.amiss for child in children)
    return item(name, value, note, children=children, amiss=amiss)


def _root(files: _Files) -> Item:
    """KHO's tree; blobs that it does not name come last."""
    label, remarks, named = "KHO tree", list[Diagnostic](), dict[str, SubBlob]()
    note = "The device tree in which the old kernel tells the new one what it preserved, and where."
    head: list[Item] = []
    try:
        root = parse_tree(files.read("fdt"), f"{files.base}/fdt", remarks.append)
    except (ParseError, SessionError) as error:
        value, note, amiss = "cannot be read", f"{note}\n{error}", True
    else:
        value, amiss = ", ".join(root.compatible) or "no version", False
        named = {blob.name: blob for blob in root.blobs}
        where = "none" if root.map_address is None else f"{root.map_address:#x}"
        map_note = (
            "Where the list of all preserved pages begins. The new kernel has used up the memory "
            "that the list itself is in: what is known of it is what the old kernel's snapshot saw."
        )
        head = [item("preserved memory map", where, map_note)]
    names = {safe_name(name) for name in named}
    every = [*named, *(name for name in files.blobs() if name not in names)]
    blobs = (_blob(files, name, named.get(name)) for name in every)
    return item(label, value, note, chain(head, blobs, remark_items(remarks)), amiss=amiss)


def _scratch(files: _Files) -> Item | None:
    note = (
        "Memory that holds nothing preserved: the next kernel starts in it, until it knows "
        "which other memory it must leave alone."
    )
    if not files.has("scratch_phys"):
        return None
    try:
        areas = parse_scratch(files.read("scratch_phys"), files.read("scratch_len"))
    except (ParseError, SessionError) as error:
        return unreadable("scratch areas", error)
    children = (item(range_text(one.address, one.size), one.kind) for one in areas)
    total = size_text(min(sum(one.size for one in areas), 1 << 64))
    return item("scratch areas", f"{len(areas)}, {total}", note, children)


def _preserved(files: _Files) -> str:
    """The memory that the memblock blob lists, in a sentence."""
    try:
        regions = parse_memblock(files.read("sub_fdts/memblock"))
    except (ParseError, SessionError):
        return "Which memory was preserved is unknown: there is no readable memblock blob."
    if not regions:
        return "No reserve_mem region was preserved."
    total = size_text(min(sum(region.size for region in regions), 1 << 64))
    names = one_line(", ".join(region.name for region in regions))
    return f"Preserved: {total} in {len(regions)} reserve_mem regions: {names}."


def _handover(old: Boot | None, new: Boot, regions: Sequence[Item]) -> Item | None:
    """What passed from ``old`` (None: not in the session) to ``new``; None if nothing did."""
    arrived = _Files(new, "in")
    sides = [_Files(old, "out")] if old is not None else []
    sources = [arrived, *sides]
    files = next((s for s in sources if s.has("fdt") or s.blobs()), None)
    if files is None and not regions:
        return None
    tree = _root(files) if files is not None else item("KHO tree", "not in the session")
    if files is not None and files is not arrived:
        handed = "This is what the old kernel had prepared; what arrived is not in the session."
        tree = replace(tree, note=f"{tree.note}\n{handed}")
    scratch = next((s for s in map(_scratch, [*sides, _Files(new, "out")]) if s), None)
    recovered = [_recovered(regions)] if regions else []
    children = [tree, *recovered, *([scratch] if scratch else [])]
    children += _more(old, new)
    name = f"{old.release if old else 'unknown'} → {new.release}"
    boots = f"boot {old.index} to boot {new.index}" if old else f"to boot {new.index}"
    preserved = _preserved(files) if files is not None else "KHO's own data are not in the session."
    return item(name, boots, preserved, children)


def _more(old: Boot | None, new: Boot) -> Iterator[Item]:
    """What ``tracekit kho`` says: what arrived, and either kernel's KHO in sections."""
    came = from_session(new.session, new.index, new.kernel)
    if old is not None:
        gone = from_session(old.session, old.index, old.kernel)
        if (arrival := compare(gone, came)).things:
            (whole,) = arrival.items()
            note = "What the old kernel was to hand on, and what of it the new one has."
            yield replace(whole, label="what arrived", note=note)
        yield from _sections(gone, None)
        yield from _sections(came, gone)
    else:
        yield from _sections(came, None)


def _sections(evidence: Evidence, before: Evidence | None) -> Iterator[Item]:
    if evidence.files:
        children = [replace(one, closed=True) for one in sections(evidence, before)]
        yield item(f"KHO of {evidence.where}", children[0].value, children=children, closed=True)


# -- regions ----------------------------------------------------------------------------------


def _recovered(regions: Sequence[Item]) -> Item:
    note = "Copied byte for byte out of preserved memory, before anything looked at them."
    return item("recovered regions", len(regions), note, children=regions)


def _region(recording: Recording, boot: Boot, path: str) -> tuple[str, Item]:
    """(what identifies the boot that read it, the region whose description is at ``path``)."""
    name = path.rsplit("/", 1)[-1].removesuffix(".json")
    try:
        description = boot.session.json(path)
        fills = region_fill(recording, boot, f"{path.removesuffix('.json')}.raw")
    except (ParseError, SessionError) as error:
        return "", unreadable(name, error)
    facts = [
        item("written by", f"boot {boot.index}, {boot.release}"),
        item("known by", description.get("owner_evidence") or "unknown"),
        item("found by", description.get("found_by") or "unknown"),
        item("read from", description.get("carrier") or "unknown"),
        item("sha256", description.get("sha256") or "unknown"),
    ]
    if unread := unread_spans(description):
        missing = f"{sum(n for _, n in unread)} bytes, in {len(unread)} places"
        facts.append(item("could not be read", missing, amiss=True))
    note = f"The memory as boot {boot.index} left it." if "/regions/" in path else "Another copy."
    if len(listed_writers(description)) > 1:
        note = f"Boot {boot.index} recorded into it, and then the kernel that read it."
    where = range_text(description.get("address"), description.get("size"))
    if room := sum(fill.capacity for fill in fills):
        where += f", {sum(fill.committed for fill in fills) / room:.1%} written"
    plain = item(name, where, note, facts)
    known = {field.name: getattr(plain, field.name) for field in fields(plain)}
    return str(description.get("read_in") or ""), RegionItem(**known, fills=fills)


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
        mine = [region for reader, region in read if me and reader == me]
        old = boots[number - 1] if number else None
        if old is None and not _Files(new, "in"):
            continue  # nothing came to the oldest boot: it read its own memory, if any
        jump = _handover(old, new, mine)
        if jump is not None:
            items.append(jump)
            taken.add(me)
    if len(boots) == 1 and not items:
        items += _more(None, boots[0])
    left = [region for reader, region in read if not reader or reader not in taken]
    if left:
        items.append(_recovered(left))
    return KhoItems(tuple(items), _without(recording, [region for _, region in read]))


def _without(recording: Recording, regions: Sequence[Item]) -> str:
    if any(_Files(boot, side) for boot in recording.boots for side in ("in", "out")):
        return ""
    finders = {c.value for one in regions for c in one.children if c.label == "found by"}
    message = "The session holds no KHO data: nothing tells what one kernel handed to the next."
    if not regions:
        return f"{message} No preserved region was recovered."
    return (
        f"{message} Its regions were found by {', '.join(sorted(finders)) or 'nobody knows what'}."
    )
