"""KHO of one kernel, in sections: state, cost, preserved map, blobs, live state.

The command and the interface show the same: items (:mod:`tracekit.kho.item`), and JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tracekit.capture.kho.cost import Cost, cost_item, cost_of
from tracekit.capture.kho.evidence import SEEDS, SIDES, Evidence
from tracekit.capture.kho.live import live_item
from tracekit.capture.kho.marks import MARKS
from tracekit.capture.kho.state import State, state_item, state_of
from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.blobs import blob_items, blob_note
from tracekit.kho.item import Item, item, range_text, size_text, unreadable
from tracekit.kho.memory import nowhere
from tracekit.kho.picture import Span, draw, parse_iomem
from tracekit.kho.preserved_sum import PreservedMap
from tracekit.kho.seed_items import seed_item
from tracekit.kho.tree import PreservedRegion, SubBlob, parse_memblock, parse_tree
from tracekit.kho.tree_items import remark_items

__all__ = ["as_json", "carried_regions", "picture_lines", "sections", "tree_item"]

_RANGES = 64  # shown
_LABEL = {"in": "what came from the kernel before", "out": "what will be handed on"}
_SIDE = {"in": "came from the kernel before", "out": "to be handed on"}


def carried_regions(evidence: Evidence, side: str) -> list[PreservedRegion]:
    """The ``reserve_mem`` regions of a side; none where its blob is absent or damaged."""
    data = evidence.files.get(f"{side}/sub_fdts/memblock")
    try:
        return parse_memblock(data, f"{side} memblock") if data else []
    except ParseError:
        return []


# -- blobs ------------------------------------------------------------------------------------


def _blob(evidence: Evidence, side: str, name: str, named: SubBlob | None) -> Item:
    note, value = blob_note(name), "not in KHO's tree"
    if named is not None:
        size = "size not recorded" if named.size is None else size_text(named.size)
        value = f"{named.address:#x}, {size}"
    data = evidence.files.get(f"{side}/sub_fdts/{name}")
    if data is None:
        return item(name, value, f"{note}\nIts bytes are not at hand.")
    children = blob_items(name, data, evidence.read.get(side, nowhere))
    return item(name, value, note, children, amiss=any(child.amiss for child in children))


def _short(tree: bytes) -> str:
    """Why a tree may be cut off."""
    if len(tree) < 8 or len(tree) >= int.from_bytes(tree[4:8], "big"):
        return ""
    return (
        ". The file in debugfs has the size that the tree had before anything was added to it; "
        "the whole tree is in memory, which root may read"
    )


def tree_item(evidence: Evidence, side: str) -> Item | None:
    """KHO's tree of a side with its blobs; blobs that it does not name come last."""
    prefix = f"{side}/sub_fdts/"
    there = [name.removeprefix(prefix) for name in evidence.files if name.startswith(prefix)]
    data = evidence.files.get(f"{side}/fdt")
    if data is None and not there:
        return None
    label, remarks, named = _LABEL[side], list[Diagnostic](), dict[str, SubBlob]()
    value, amiss, note = "its tree is not at hand", False, ""
    if data is not None:
        try:
            root = parse_tree(data, f"{side}/fdt", remarks.append)
        except ParseError as error:
            value, note, amiss = "its tree cannot be read", f"{error}{_short(data)}", True
        else:
            value = ", ".join(root.compatible) or "no version"
            named = {blob.name: blob for blob in root.blobs}
    every = [*named, *(name for name in there if name not in named)]
    blobs = [_blob(evidence, side, name, named.get(name)) for name in every]
    amiss = amiss or any(blob.amiss for blob in blobs)
    return item(label, value, note, [*blobs, *remark_items(remarks)], amiss=amiss)


def _blobs(evidence: Evidence) -> Item:
    trees = [tree for side in SIDES if (tree := tree_item(evidence, side)) is not None]
    count = sum(len(tree.children) for tree in trees)
    seeds = [seed_item(_LABEL[side], evidence.files[name]) for side, name in SEEDS.items()
             if name in evidence.files]  # fmt: skip
    value = f"{count}" if trees else f"{len(seeds)}" if seeds else "none"
    trees += seeds
    note = "" if trees else evidence.unseen.get("kho", "")
    return item("Blobs", value, note, trees, amiss=any(tree.amiss for tree in trees))


# -- the map ----------------------------------------------------------------------------------


def picture_lines(evidence: Evidence, cost: Cost | None) -> list[str]:
    """The picture of physical memory, with its legend; nothing where nothing is known."""
    spans = parse_iomem(evidence.iomem)
    spans += [Span("s", area.address, area.end) for area in (cost.areas if cost else ())]
    for side in SIDES:
        regions = carried_regions(evidence, side)
        spans += [Span("R", region.address, region.address + region.size) for region in regions]
    kept = evidence.maps.get("out") or evidence.maps.get("in")
    return draw(spans, kept.density if kept else None).lines()


def _orders(kept: PreservedMap) -> Iterator[Item]:
    for order, count in sorted(kept.blocks.items()):
        size = kept.page << order
        yield item(
            f"order {order}",
            f"{count:,} of {size_text(size)}, {size_text(min(count * size, 1 << 64))}",
        )


def _holes(kept: PreservedMap) -> str:
    """How much lies between the first and the last preserved byte."""
    if not kept.ranges:
        return ""
    span = kept.ranges[-1][1] - kept.ranges[0][0]
    holes = len(kept.ranges) - 1
    return f"{holes:,} holes, {size_text(span - kept.bytes)} between the first and the last"


def map_facts(kept: PreservedMap) -> Iterator[Item]:
    """What a map comes to."""
    yield item("by order", f"{len(kept.blocks)} orders", children=_orders(kept))
    if kept.ranges_cut:
        yield item("ranges", "too many to be listed")
    else:
        ranges = [item(range_text(a, b - a)) for a, b in kept.ranges[:_RANGES]]
        if len(kept.ranges) > _RANGES:
            ranges.append(item("…", f"{len(kept.ranges) - _RANGES:,} more: --json has them"))
        largest = f", the largest {size_text(kept.largest)}" if kept.ranges else ""
        yield item("ranges", f"{len(kept.ranges):,}{largest}", children=ranges)
        if kept.ranges:
            yield item("holes", _holes(kept))
    yield item("runs of neighbouring blocks", f"{kept.runs:,}")
    if kept.form == MARKS:
        yield item("from", "the kernel's marks of pages that came and were not taken up yet")
    else:
        yield item("the map itself", f"{kept.form}, {kept.maps:,} bitmaps")
    for note in kept.notes:
        yield unreadable("map", note)


def map_item(evidence: Evidence, cost: Cost | None) -> Item:
    """The section on the preserved map."""
    side = "out" if "out" in evidence.maps else "in"
    kept, picture = evidence.maps.get(side), picture_lines(evidence, cost)
    note = "\n".join(picture)
    if kept is None:
        why = evidence.unseen.get("map") or evidence.unseen.get("kho") or (
            "the list of preserved pages is in memory that only the old kernel can read"
            if "in/fdt" in evidence.files else "there is no list of preserved pages"
        )  # fmt: skip
        return item("Preserved map", "not at hand", f"{why}\n{note}".strip())
    value = f"{kept.pages:,} pages, {size_text(min(kept.bytes, 1 << 64))}, {_SIDE[side]}"
    return item("Preserved map", value, note, map_facts(kept), amiss=bool(kept.notes))


# -- all --------------------------------------------------------------------------------------


def sections(evidence: Evidence, before: Evidence | None = None) -> list[Item]:
    """State, cost, preserved map, blobs, live state. ``before``: the kernel before, where known."""
    cost = cost_of(evidence)
    return [
        state_item(evidence, state_of(evidence), before),
        cost_item(evidence, cost),
        map_item(evidence, cost),
        _blobs(evidence),
        live_item(evidence),
    ]


def _items_json(items: tuple[Item, ...]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in {
            "label": one.label, "value": one.value, "note": one.note, "amiss": one.amiss,
            "children": _items_json(one.children),
        }.items() if value}
        for one in items
    ]  # fmt: skip


def as_json(evidence: Evidence, before: Evidence | None = None) -> dict[str, Any]:
    """The JSON form; sizes and addresses in bytes."""
    state: State = state_of(evidence)
    cost = cost_of(evidence)
    trees = {side: tree_item(evidence, side) for side in SIDES}
    return {
        "where": evidence.where,
        "release": evidence.release,
        "state": asdict(state),
        "changed": state.changes(before, evidence) if before is not None else None,
        "cost": cost.as_dict() if cost else None,
        "map": {side: kept.as_dict() for side, kept in evidence.maps.items()},
        "picture": picture_lines(evidence, cost),
        "regions": {side: [asdict(r) for r in carried_regions(evidence, side)] for side in SIDES},
        "blobs": {
            side: _items_json(tree.children) for side, tree in trees.items() if tree is not None
        },
        "seed": {
            side: _items_json((seed_item(_LABEL[side], evidence.files[name]),))
            for side, name in SEEDS.items()
            if name in evidence.files
        },
        "luo": evidence.luo.as_dict() if evidence.luo else None,
        "holders": [asdict(holder) for holder in evidence.holders],
        "devices": [device.as_dict() for device in evidence.devices],
        "unseen": dict(evidence.unseen),
    }
