"""KHO data: the real blobs of a handover, every ABI version, and rubbish."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.tree import (
    KexecMetadata,
    PreservedRegion,
    SubBlob,
    parse_kexec_metadata,
    parse_memblock,
    parse_setup_data,
    parse_tree,
)

Capture = Callable[[str], Path]


@pytest.fixture(scope="module")
def kho_in(capture: Capture) -> Path:
    return capture("handover-7.2-tsc") / "new/sys/kernel/debug/kho/in"


def test_a_real_root_tree(kho_in: Path) -> None:
    remarks: list[Diagnostic] = []
    found = parse_tree((kho_in / "fdt").read_bytes(), "fdt", remarks.append)
    assert found.compatible == ("kho-v4",)
    assert found.version == 4
    assert found.map_address is not None
    assert {(b.name, b.size) for b in found.blobs} == {("memblock", 286), ("kexec-metadata", 73)}
    assert remarks == []
    for blob in found.blobs:
        assert blob.size == (kho_in / "sub_fdts" / blob.name).stat().st_size


def test_a_real_memblock(kho_in: Path) -> None:
    remarks: list[Diagnostic] = []
    data = (kho_in / "sub_fdts/memblock").read_bytes()
    assert parse_memblock(data, report=remarks.append) == [
        PreservedRegion("tkA", 2103443456, 4 << 20),
        PreservedRegion("tkB", 2099249152, 4 << 20),
    ]
    assert remarks == []


def test_real_metadata(kho_in: Path) -> None:
    data = (kho_in / "sub_fdts/kexec-metadata").read_bytes()
    assert len(data) == 73
    assert parse_kexec_metadata(data) == KexecMetadata(1, "7.2.13", 1)


def handover(compatible: str, *, address: str = "preserved-data", size: bool = True) -> bytes:
    properties = {address: u64(0x1000)} | ({"blob-size": u64(286)} if size else {})
    return write_fdt(
        Tree(
            "",
            {"compatible": text(compatible), "preserved-memory-map": u64(0x5000)},
            [Tree("memblock", properties)],
        )
    )


@pytest.mark.parametrize(
    ("blob", "version", "size"),
    [
        (handover("kho-v1", address="fdt", size=False), 1, None),
        (handover("kho-v2", size=False), 2, None),
        (handover("kho-v3"), 3, 286),
        (handover("kho-v4"), 4, 286),
        (handover("kho-v4;radix-v1;vmalloc-v1"), 4, 286),
        (handover("radix-v1;kho-v4"), 4, 286),
    ],
)
def test_every_version(blob: bytes, version: int, size: int | None) -> None:
    remarks: list[Diagnostic] = []
    found = parse_tree(blob, "fdt", remarks.append)
    assert (found.version, found.map_address) == (version, 0x5000)
    assert found.blob("memblock") == SubBlob("memblock", 0x1000, size)
    assert found.blob("LUO") is None
    assert remarks == []


@pytest.mark.parametrize("compatible", ["kho-v5", "kho-v40", "kho-v4x", "something", ""])
def test_an_unknown_version_is_reported_and_read(compatible: str) -> None:
    remarks: list[Diagnostic] = []
    found = parse_tree(handover(compatible), "fdt", remarks.append)
    assert [r.code for r in remarks] == ["kho-version-unknown"]
    assert found.blob("memblock") == SubBlob("memblock", 0x1000, 286)


def test_a_property_of_the_wrong_size() -> None:
    remarks: list[Diagnostic] = []
    tree = Tree("", {"compatible": text("kho-v4")}, [Tree("m", {"preserved-data": b"1234"})])
    assert parse_tree(write_fdt(tree), "fdt", remarks.append).blobs == ()
    assert [r.code for r in remarks] == ["kho-property-size", "kho-node-without-blob"]


def region(name: str, start: int | bytes, size: int | bytes) -> Tree:
    return Tree(
        name,
        {
            "compatible": text("reserve-mem-v1"),
            "start": start if isinstance(start, bytes) else u64(start),
            "size": size if isinstance(size, bytes) else u64(size),
        },
    )


def memblock(*regions: Tree, compatible: str = "memblock-v1") -> bytes:
    return write_fdt(Tree("", {"compatible": text(compatible)}, list(regions)))


def codes(blob: bytes) -> tuple[list[PreservedRegion], list[str]]:
    remarks: list[Diagnostic] = []
    found = parse_memblock(blob, "memblock", remarks.append)
    return found, [r.code for r in remarks]


def test_memblock_that_makes_no_sense() -> None:
    good = region("good", 0x1000, 0x1000)
    kept = [PreservedRegion("good", 0x1000, 0x1000)]
    for bad in (
        region("zero", 0x1000, 0),
        region("beyond", (1 << 64) - 0x1000, 0x2000),
        region("short", b"123", 0x1000),
        region("short", 0x1000, b""),
        Tree("bare", {"compatible": text("reserve-mem-v1")}),
    ):
        found, seen = codes(memblock(bad, good))
        assert found == kept
        assert "memblock-region-invalid" in seen
    last_byte = region("last", (1 << 64) - 0x1000, 0x1000)
    assert codes(memblock(last_byte))[1] == []
    assert codes(memblock(good, region("good", 0x2000, 1))) == (kept, ["memblock-name-twice"])
    assert codes(memblock(good, compatible="memblock-v2")) == (kept, ["memblock-version-unknown"])
    long = codes(memblock(region("a" * 16, 0, 1)))
    assert long == ([PreservedRegion("a" * 16, 0, 1)], ["memblock-name-long"])
    assert codes(memblock(region("a" * 15, 0, 1)))[1] == []


def test_memblock_node_of_another_kind_is_reported() -> None:
    tree = Tree("x", {"start": u64(0), "size": u64(1)})
    assert codes(memblock(tree)) == ([PreservedRegion("x", 0, 1)], ["memblock-node-unknown"])


def test_memblock_count_is_bounded() -> None:
    eight = memblock(*(region(f"r{i}", i << 20, 1) for i in range(8)))
    assert codes(eight)[1] == []
    many = memblock(*(region(f"r{i}", i << 20, 1) for i in range(1000)))
    found, seen = codes(many)
    assert len(found) == 64
    assert seen == ["memblock-many-regions"]


@given(
    st.lists(
        st.tuples(
            st.text("abcXYZ09_-.", min_size=1, max_size=15),
            st.integers(0, (1 << 63) - 1),
            st.integers(1, 1 << 62),
        ),
        max_size=8,
        unique_by=lambda r: r[0],
    )
)
def test_memblock_round_trip(regions: list[tuple[str, int, int]]) -> None:
    found, seen = codes(memblock(*(region(*r) for r in regions)))
    assert [(r.name, r.address, r.size) for r in found] == regions
    assert seen == []


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    for whole in (memblock(region("tkA", 1 << 30, 4 << 20)), handover("kho-v4")):
        blob = bytearray(whole)
        for at, value in flips:
            blob[at % len(blob)] = value
        for parse in (parse_memblock, parse_tree):
            try:
                parse(bytes(blob), "flipped", lambda _: None)  # type: ignore[operator]
            except ParseError as error:
                assert "flipped" in str(error)


@given(st.integers(0, 2**32 - 1), st.text(min_size=0, max_size=16), st.integers(0, 2**32 - 1))
def test_metadata_round_trip(version: int, release: str, count: int) -> None:
    raw = release.encode("utf-8", "replace")[:64]
    blob = struct.pack("<I65sI", version, raw, count)
    remarks: list[Diagnostic] = []
    try:
        found = parse_kexec_metadata(blob, report=remarks.append)
    except ParseError:
        assert not raw.split(b"\0")[0].decode("utf-8", "backslashreplace").isprintable()
        return
    assert (found.version, found.kexec_count) == (version, count)
    assert [r.code for r in remarks] == ([] if version == 1 else ["kexec-metadata-version"])


@given(st.binary(max_size=72))
def test_metadata_that_is_too_short(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_kexec_metadata(data)


def test_setup_data() -> None:
    # struct kho_data: fdt, fdt_size, scratch, scratch_size
    assert parse_setup_data(struct.pack("<4Q", 0x1000, 4096, 5, 6)) == (0x1000, 4096)
    with pytest.raises(ParseError):
        parse_setup_data(bytes(15))
