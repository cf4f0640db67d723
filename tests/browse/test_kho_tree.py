"""The tree of what was handed over: against dtc, against the pages decoded, and from rubbish."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracekit
from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tests.support.machine_trees import kho_files
from tests.support.ring.region_writer import RingBuffer, layout_615
from tracekit.browse.kho_tree import Item, KhoItems, read_kho_tree, size_text
from tracekit.browse.region_fill import region_fill
from tracekit.errors import SessionError
from tracekit.recording import Recording
from tracekit.session.limits import Budget
from tracekit.spill import Spill
from tracekit.timeline.read_buffers import read_buffers

needs_dtc = pytest.mark.skipif(
    shutil.which("dtc") is None,
    reason="dtc is not installed (apt install device-tree-compiler): NOT compared with it",
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
HANDOVERS = ("handover-7.2-to-7.3-tsc", "handover-7.2-tsc")


def nothing(done: int, total: int) -> None:
    """Goes on."""


def every(items: tuple[Item, ...], depth: int = 0) -> Iterator[tuple[int, Item]]:
    for item in items:
        yield depth, item
        yield from every(item.children, depth + 1)


def child(item: Item, label: str) -> Item:
    (found,) = (c for c in item.children if c.label == label)
    return found


def from_dtc(path: Path) -> dict[str, dict[str, bytes]]:
    """Node -> property -> bytes, of dtc's text; KHO's trees have one level."""
    command = ["dtc", "-q", "-I", "dtb", "-O", "dts", str(path)]
    dts = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found: dict[str, dict[str, bytes]] = {}
    node = ""
    for line in dts.splitlines():
        if m := re.fullmatch(r"\s*(\S+) \{", line):
            node = m[1]
        elif m := re.fullmatch(r"\s*(\S+) = <(.*)>;", line):
            cells = [int(cell, 16) for cell in m[2].split()]
            found.setdefault(node, {})[m[1]] = struct.pack(f">{len(cells)}I", *cells)
    return found


@pytest.mark.slow
@needs_dtc
@pytest.mark.parametrize("name", HANDOVERS)
def test_the_tree_is_what_dtc_shows(name: str, session: Callable[[str], Path]) -> None:
    path = session(name)
    (jump,) = read_kho_tree(tracekit.open(path), nothing).items
    tree, kho = child(jump, "KHO tree"), path / "boots/1/kho/in"
    told = from_dtc(kho / "fdt")

    def number(raw: bytes) -> int:
        return int.from_bytes(raw, "little")

    memory_map = number(told["/"]["preserved-memory-map"])
    assert child(tree, "preserved memory map").value == f"{memory_map:#x}"
    for blob in ("memblock", "kexec-metadata"):
        address, size = (number(told[blob][p]) for p in ("preserved-data", "blob-size"))
        assert child(tree, blob).value == f"{address:#x}, {size} bytes"
        assert size == (kho / "sub_fdts" / blob).stat().st_size
    regions = from_dtc(kho / "sub_fdts/memblock")
    assert [c.label for c in child(tree, "memblock").children] == list(regions)
    for region, values in regions.items():
        start, size = number(values["start"]), number(values["size"])
        assert child(child(tree, "memblock"), region).value.startswith(
            f"{start:#x}-{start + size:#x}"
        )
    assert "8 MiB in 2 reserve_mem regions: tkA, tkB" in jump.note
    assert child(child(tree, "kexec-metadata"), "previous kernel").value == "7.2.13"
    assert not any(item.amiss for _, item in every((jump,)))


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDOVERS)
def test_regions_are_filled_as_decoding_found_them(
    name: str, session: Callable[[str], Path]
) -> None:
    recording = tracekit.open(session(name))
    (jump,) = read_kho_tree(recording, nothing).items
    regions = child(jump, "recovered regions").children
    assert [r.label for r in regions] == ["tkA", "tkB"]
    for boot, region in zip(recording.boots, regions, strict=True):
        (buffer,) = (b for b in read_buffers(boot) if b.name == region.label)
        for fill, records in zip(region.fills, buffer.records, strict=True):
            pages = list(records.pages())
            assert fill.cpu == records.cpu
            assert fill.committed == sum(page.commit for page in pages)
            assert fill.used == sum(page.commit > 0 for page in pages)
            assert fill.used <= fill.total
            assert fill.capacity == fill.total * 4080
        told = json.loads(
            (session(name) / f"boots/{boot.index}/regions/{buffer.name}.json").read_text()
        )
        assert child(region, "sha256").value == told["sha256"]
        assert child(region, "known by").value == told["owner_evidence"]
        assert child(region, "found by").value == "kho memblock"
    assert regions[0].fills[0].committed > 0


@pytest.mark.slow
def test_fill_is_the_same_from_the_file(session: Callable[[str], Path]) -> None:
    """What an index that is kept has no layout of is read from the region itself."""
    recording = tracekit.open(session(HANDOVERS[0]))
    boot, path = recording.boots[0], "boots/0/regions/tkA.raw"
    decoded = region_fill(recording, boot, path)

    class WithoutLayouts:
        buffers = ()

    assert region_fill(WithoutLayouts(), boot, path) == decoded  # type: ignore[arg-type]


def test_scratch_areas(session: Callable[[str], Path]) -> None:
    path = session(HANDOVERS[0])
    (jump,) = read_kho_tree(tracekit.open(path), nothing).items
    sizes = [int(s, 16) for s in (path / "boots/1/kho/out/scratch_len").read_text().split()]
    scratch = child(jump, "scratch areas")
    assert scratch.value == f"{len(sizes)}, {size_text(sum(sizes))}"
    assert len(scratch.children) == len(sizes)


def test_without_kho_it_says_where_regions_came_from(session: Callable[[str], Path]) -> None:
    found = read_kho_tree(tracekit.open(session("same-boot-7.2")), nothing)
    assert "no KHO data" in found.without_kho
    assert "--region" in found.without_kho
    (regions,) = found.items
    assert regions.label == "recovered regions"
    assert all(region.fills for region in regions.children)


def test_the_step_ends_the_work(session: Callable[[str], Path]) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        read_kho_tree(tracekit.open(session(HANDOVERS[0])), stop)


# -- what nobody can trust --------------------------------------------------------------------


Names = list[str]


class Files:
    """A session of two boots that holds these files, and no recording."""

    boots = [0, 1]
    diagnostics: list[Any] = []
    path = Path("session")
    recorded = ()

    def __init__(self, files: dict[str, bytes]) -> None:
        self._held = files
        self.budget = Budget("session", lambda: 1 << 30)
        self.spill = Spill()

    def list(self, prefix: str = "") -> Names:
        return sorted(name for name in self._held if name.startswith(prefix))

    def files(self, prefix: str) -> Names:
        return self.list(prefix)

    def has(self, rel: str) -> bool:
        return rel in self._held

    def read(self, rel: str) -> bytes:
        if rel not in self._held:
            raise SessionError(f"{rel} is missing")
        return self._held[rel]

    def json(self, rel: str) -> dict[str, Any]:
        try:
            document = json.loads(self.read(rel))
        except ValueError as error:
            raise SessionError(f"{rel} is damaged: {error}") from error
        if not isinstance(document, dict):
            raise SessionError(f"{rel} is damaged: no object")
        return document

    def kernel(self, boot: int) -> dict[str, Any]:
        return self.json(f"boots/{boot}/kernel.json")


def handed(files: dict[str, bytes]) -> KhoItems:
    """What a session tells whose newer boot has these files in ``kho/``."""
    kernels = {
        f"boots/{i}/kernel.json": json.dumps(
            {"known": True, "boot_id": str(i), "release": r}
        ).encode()
        for i, r in enumerate(("7.2\x1b[31m", "7.3"))
    }
    inside = {f"boots/1/kho/{name}": data for name, data in files.items()}
    return read_kho_tree(Recording(Files(kernels | inside)), nothing)  # type: ignore[arg-type]


def sound(found: KhoItems) -> None:
    """However bad the data: bounded, and nothing that steers a terminal."""
    items = list(every(found.items))
    assert len(items) < 20_000
    assert max((depth for depth, _ in items), default=0) < 80
    for _, item in items:
        assert not CONTROL.search(item.label + item.value), item
        assert not CONTROL.search(item.note.replace("\n", "")), item
        assert len(item.label) <= 1001
        assert len(item.value) <= 1001
        assert len(item.children) <= 257


def good() -> dict[str, bytes]:
    files = kho_files({"tkA": (0x10000, 0x1000), "tkB": (0x20000, 0x1000)})
    return {name.removeprefix("sys/kernel/debug/kho/"): data for name, data in files.items()}


def test_the_good_files_are_read() -> None:
    found = handed(good())
    sound(found)
    labels = {item.label for _, item in every(found.items)}
    assert {"KHO tree", "memblock", "kexec-metadata", "tkA", "tkB", "scratch areas"} <= labels
    assert not any(item.amiss for _, item in every(found.items))
    assert found.items[0].label == r"7.2\x1b[31m → 7.3"


def test_blobs_that_nobody_knows_and_luo() -> None:
    luo = struct.pack("<8sQQQ", b"luo-v5", 2, 0x77000, 0)
    deep = Tree("leaf", {"\x1b[2J": b"\x1b[2J\0", "n": u64(5)})
    for level in range(60):
        deep = Tree(f"n{level}", {}, [deep])
    files = good() | {
        "in/sub_fdts/LUO": luo,
        "in/sub_fdts/tree": write_fdt(Tree("", {"compatible": text("x-v1")}, [deep])),
        "in/sub_fdts/odd": bytes(range(200)),
    }
    found = handed(files)
    sound(found)
    tree = child(found.items[0], "KHO tree")
    assert child(child(tree, "LUO"), "live updates").value == "2"
    assert child(child(tree, "LUO"), "sessions").value == "0x77000"
    assert child(child(tree, "tree"), "compatible").value == '"x-v1"'
    assert child(child(tree, "odd"), "size").value == "200 bytes"
    old = handed(files | {"in/sub_fdts/LUO": b"rubbish\0" + bytes(24)})
    assert child(child(old.items[0], "KHO tree"), "LUO").amiss


def test_a_tree_of_many_nodes_is_cut() -> None:
    many = Tree("", {}, [Tree(f"n{i}", {f"p{j}": b"x" for j in range(20)}) for i in range(2000)])
    found = handed(good() | {"in/fdt": write_fdt(many), "in/sub_fdts/wide": write_fdt(many)})
    sound(found)
    assert any(item.label == "…" for _, item in every(found.items))


def test_what_is_missing_is_said() -> None:
    files = good()
    del files["in/sub_fdts/memblock"]
    (jump,) = handed(files).items
    assert "not in the session" in child(child(jump, "KHO tree"), "memblock").note
    assert "unknown" in jump.note
    (jump,) = handed({"in/fdt": b"rubbish"}).items
    assert child(jump, "KHO tree").amiss
    for damaged in (b"0x1\n0x2\n", b"0x1 " * (1 << 20)):
        (jump,) = handed(good() | {"out/scratch_len": damaged, "out/scratch_phys": damaged}).items
        assert child(jump, "scratch areas").amiss == (len(damaged) > 10)
    (jump,) = handed(good() | {"out/scratch_len": b"0x1\n0x2\n"}).items
    assert child(jump, "scratch areas").amiss


@settings(max_examples=60)
@given(st.sampled_from(sorted(good())), st.data())
def test_damaged_files_are_read_as_far_as_they_go(name: str, data: st.DataObject) -> None:
    files = good()
    raw = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    files[name] = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    sound(handed(files))


@given(st.dictionaries(st.sampled_from(["in/fdt", "in/sub_fdts/LUO", "in/sub_fdts/memblock",
                                        "in/sub_fdts/kexec-metadata", "out/scratch_phys",
                                        "out/scratch_len"]), st.binary(max_size=200)))  # fmt: skip
def test_rubbish_is_shown_as_such(files: dict[str, bytes]) -> None:
    sound(handed(files))


@pytest.mark.parametrize(
    "told",
    [b"{}", b"[]", b"rubbish", b'{"address": -1, "size": 5}', b'{"address": 1e400}',
     b'{"address": ' + b"9" * 400 + b', "size": 1, "read_in": ["1"], "found_by": "\\u001b[2J"}'],
)  # fmt: skip
def test_a_regions_description_that_makes_no_sense(told: bytes) -> None:
    kernels = {f"boots/{i}/kernel.json": b'{"known": true}' for i in range(2)}
    data = layout_615([RingBuffer(4)]).data
    region = {"boots/0/regions/tkA.json": told, "boots/0/regions/tkA.raw": data}
    recording = Recording(Files(kernels | region))  # type: ignore[arg-type]
    found = read_kho_tree(recording, nothing)
    sound(found)
    (item,) = (item for _, item in every(found.items) if item.label == "tkA")
    assert item.amiss == (told in (b"[]", b"rubbish"))
    assert item.amiss or item.value.startswith("unknown")
