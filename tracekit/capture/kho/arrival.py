"""What one kernel handed on, and what of it arrived in the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.inspect import carried_regions
from tracekit.capture.kho.marks import MARKS
from tracekit.frozen import dataclass
from tracekit.kho.handlers import describe_data
from tracekit.kho.item import Item, item, range_text, size_text
from tracekit.kho.memory import nowhere
from tracekit.kho.preserved_sum import PreservedMap, Range

__all__ = ["Arrival", "Thing", "compare", "preserved_devices"]

Verdict = Literal["arrived", "missing", "new", "changed", "not picked up", "unknown"]
_AMISS = ("missing", "changed", "not picked up")
_LISTED = 16
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Thing:
    """Something handed on: ``kind`` (``region``, ``blob``, ``pages``, ``session``, ``file``), its
    name, what became of it, and how that is known.
    """

    kind: str
    name: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One jump. ``chain`` has, of the old kernel's map and of the new one's, pages and ranges."""

    old: str
    new: str
    things: tuple[Thing, ...]
    chain: tuple[str, ...]

    @property
    def amiss(self) -> list[Thing]:
        """What did not arrive as it was, or was not picked up."""
        return [thing for thing in self.things if thing.verdict in _AMISS]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def items(self) -> list[Item]:
        """As items."""
        bad = len(self.amiss)
        value = f"{len(self.things)} things, " + (f"{bad} amiss" if bad else "nothing amiss")
        if not self.things:
            value = "nothing is known of what was handed on"
        children = [
            item(
                f"{thing.kind} {thing.name}".strip(),
                f"{thing.verdict}{': ' if thing.detail else ''}{thing.detail}",
                amiss=thing.verdict in _AMISS,
            )
            for thing in self.things
        ]
        if self.chain:
            children.append(item("along the chain", children=[item(one) for one in self.chain]))
        return [item(f"{self.old} → {self.new}", value, "", children)]


def _regions(old: Evidence, new: Evidence) -> Iterator[Thing]:
    came = {region.name: region for region in carried_regions(new, "in")}
    arrived = "in/sub_fdts/memblock" in new.files
    for region in carried_regions(old, "out"):
        where = range_text(region.address, region.size)
        found = came.pop(region.name, None)
        if found == region:
            yield Thing("region", region.name, "arrived", where)
        elif found is not None:
            now = range_text(found.address, found.size)
            yield Thing("region", region.name, "changed", f"{where} → {now}")
        elif arrived or "in/fdt" in new.files:
            yield Thing("region", region.name, "missing", where)
        else:
            yield Thing("region", region.name, "unknown", f"{where}; no KHO data of the new kernel")
    for name, region in came.items():
        where = range_text(region.address, region.size)
        known = "out/sub_fdts/memblock" in old.files
        how = where if known else f"{where}; the old kernel's list is not in the session"
        yield Thing("region", name, "new" if known else "arrived", how)


def _blobs(old: Evidence, new: Evidence) -> Iterator[Thing]:
    gone, came = old.tree("out"), new.tree("in")
    if gone is None or came is None:
        return
    names = {blob.name: blob for blob in came.blobs}
    for blob in gone.blobs:
        found = names.pop(blob.name, None)
        if found is None:
            yield Thing("blob", blob.name, "missing", f"it was at {blob.address:#x}")
        elif found.address != blob.address:
            where = f"{blob.address:#x} → {found.address:#x}"
            yield Thing("blob", blob.name, "changed", where)
        else:
            yield Thing("blob", blob.name, "arrived", f"{found.address:#x}")
    for name, blob in names.items():
        yield Thing("blob", name, "new", f"{blob.address:#x}: registered after the snapshot")


def _missing_ranges(gone: PreservedMap, came: PreservedMap) -> int | None:
    """Bytes that one map has and the other does not; None where they are too many to be listed."""
    if gone.ranges_cut or came.ranges_cut:
        return None
    kept = sum(came.holds(a, b - a) or 0 for a, b in gone.ranges[:4096])
    return sum(b - a for a, b in gone.ranges[:4096]) - kept


def _pieces(ranges: Iterable[Range], others: Sequence[Range]) -> Iterator[tuple[bool, int]]:
    """(whether it is in ``others``, bytes) of each piece of ``ranges``; both are sorted."""
    number = 0
    for start, end in ranges:
        while start < end:
            while number < len(others) and others[number][1] <= start:
                number += 1
            a, b = others[number] if number < len(others) else (end, end)
            stop = min(end, b if a <= start else a)
            yield a <= start < b, stop - start
            start = stop


def _taken(old: Evidence, new: Evidence) -> Iterator[Range]:
    """Where the regions and blobs are that arrived, in whole pages."""
    sides = {(r.name, r.address, r.size) for r in carried_regions(old, "out")}
    found = [(r.address, r.size) for r in carried_regions(new, "in")
             if (r.name, r.address, r.size) in sides]  # fmt: skip
    gone, came = old.tree("out"), new.tree("in")
    if gone is not None and came is not None:
        there = {(blob.name, blob.address) for blob in came.blobs}
        found += [(b.address, b.size or 1) for b in gone.blobs if (b.name, b.address) in there]
    for address, size in sorted(found):
        yield address & -_PAGE, (address + size + _PAGE - 1) & -_PAGE


def _marked(
    old: Evidence, new: Evidence, gone: PreservedMap, came: PreservedMap
) -> Iterator[Thing]:
    """Of a map that the new kernel used up: the pages it marked, and those of what arrived."""
    there = sorted([*came.ranges, *_taken(old, new)])
    merged: list[Range] = []
    for start, end in there:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    pieces = list(_pieces(gone.ranges, merged))
    known, rest = (sum(size for inside, size in pieces if inside is side) for side in (True, False))
    cut = f"; {came.notes[0]}" if came.notes else ""
    if known:
        detail = "the new kernel marked them, or they are in a region or blob that arrived"
        yield Thing("pages", f"{known // gone.page:,} pages, {size_text(known)}", "arrived", detail)
    if rest:
        detail = "taken up before this was saved, or not arrived: the new kernel keeps no list"
        name = f"{rest // gone.page:,} pages, {size_text(rest)}"
        yield Thing("pages", name, "unknown", f"{detail}{cut}")


def _pages(old: Evidence, new: Evidence) -> Iterator[Thing]:
    gone, came = old.maps.get("out"), new.maps.get("in")
    if gone is None:
        return
    name = f"{gone.pages:,} pages, {size_text(min(gone.bytes, 1 << 64))}"
    if came is None:
        why = "the new kernel has used up the memory of the list while it booted"
        yield Thing("pages", name, "unknown", why)
        return
    if came.form == MARKS:
        yield from _marked(old, new, gone, came)
        return
    missing = _missing_ranges(gone, came)
    if missing is None:
        yield Thing("pages", name, "unknown", "too many ranges to be compared")
    elif missing:
        yield Thing("pages", name, "missing", f"{size_text(missing)} are not in the list that came")
    else:
        yield Thing("pages", name, "arrived", f"{came.pages:,} pages are in the list that came")


def _sessions(old: Evidence, new: Evidence) -> Iterator[Thing]:
    """LUO's sessions: those that were to be handed on, those that came, and those still waiting."""
    if old.luo is None and new.came is None and new.luo is None:
        return
    gone = {s.name: s for s in (old.luo.outgoing if old.luo else ())}
    came = {s.name: s for s in (new.came.incoming if new.came else ())}
    now = {s.name: s for s in (new.luo.incoming if new.luo else ())}
    for name in dict.fromkeys([*gone, *came, *now]):
        files = (gone.get(name) or came.get(name) or now[name]).files
        count = f"{len(files)} files"
        waiting = now.get(name)
        if new.luo is None:
            yield Thing("session", name, "unknown", f"{count}; LUO of the new kernel was not seen")
        elif waiting is None and name in came:
            yield Thing("session", name, "arrived", f"{count}; retrieved, and finished since")
        elif waiting is None and new.luo.opened:
            detail = f"{count}; finished before anybody looked, or closed before the jump"
            yield Thing("session", name, "unknown", detail)
        elif waiting is None:
            yield Thing("session", name, "missing", f"{count}; it did not come")
        elif not new.luo.opened:
            detail = f"{count}; nobody has opened /dev/liveupdate yet"
            yield Thing("session", name, "not picked up", detail)
        elif not waiting.retrieved:
            yield Thing("session", name, "not picked up", f"{count}; nobody has retrieved it")
        else:
            left = [f.token for f in waiting.files if f.retrieved != 1]
            tokens = ", ".join(f"{token:#x}" for token in left[:_LISTED])
            detail = f"tokens not retrieved: {tokens}" if left else "all retrieved"
            verdict: Verdict = "not picked up" if left else "arrived"
            yield Thing("session", name, verdict, f"{count}; {detail}; not finished yet")


def _chain(old: Evidence, new: Evidence) -> Iterator[str]:
    """How the lists to be handed on changed from kernel to kernel."""
    for evidence in (old, new):
        kept = evidence.maps.get("out")
        if kept is not None:
            orders = ", ".join(
                f"{count:,} of order {o}" for o, count in sorted(kept.blocks.items())
            )
            ranges = "too many ranges" if kept.ranges_cut else f"{len(kept.ranges):,} ranges"
            yield f"{evidence.where}: {kept.pages:,} pages in {ranges}; {orders}"


def preserved_devices(evidence: Evidence) -> set[str] | None:
    """The PCI devices that LUO was to preserve; None where its sessions are not known."""
    if evidence.luo is None:
        return None
    read = evidence.read.get("out", nowhere)
    found: set[str] = set()
    for session in evidence.luo.outgoing:
        for file in session.files:
            if file.handler.startswith("vfio"):
                facts = dict(describe_data(file.handler, file.data, read).facts)
                found |= {facts["device"]} if "device" in facts else set()
    return found


def compare(old: Evidence, new: Evidence) -> Arrival:
    """What ``old`` handed on and what of it is in ``new``."""
    things = (*_regions(old, new), *_blobs(old, new), *_pages(old, new), *_sessions(old, new))
    return Arrival(old.where, new.where, things, tuple(_chain(old, new)))
