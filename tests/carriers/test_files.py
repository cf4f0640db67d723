"""Memory that the user names: files and devices, regions in them, whole memories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.elf_core_writer import Segment, write_core
from tests.support.machine_trees import OLD_TEXT
from tests.support.memory.kdump_writer import flattened, write_kdump
from tests.support.sessions.handed_over import ring
from tracekit.carriers.device_memory import mapped
from tracekit.carriers.files import FileMemory, is_device, open_file, open_memory, open_region
from tracekit.carriers.ring_header import ring_size
from tracekit.errors import SourceError
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec

DATA = os.urandom(10_000)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "memory"
    path.write_bytes(DATA)
    return str(path)


def test_a_file_is_memory_from_its_address_on(file: str) -> None:
    with FileMemory(open_file(file), file, 0x40000000) as memory:
        assert memory.size == len(DATA)
        assert memory.describe() == "0x40000000-0x40002710"
        assert memory.read(0x40000005, 9_000) == DATA[5:9005]
        assert memory.holds(0x40000000, 10_000) and not memory.holds(0x40000000, 10_001)
        with pytest.raises(SourceError, match="nothing holds 0x0"):
            memory.read(0, 1)


def test_a_file_that_shrinks(file: str) -> None:
    with FileMemory(open_file(file), file) as memory:
        os.truncate(file, 100)
        assert memory.read(0, 100) == DATA[:100]
        with pytest.raises(SourceError, match="cut off"):
            memory.read(0, 101)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with FileMemory(open_file(str(tmp_path / "empty")), "empty") as memory:
        assert (memory.size, memory.ranges) == (0, ())


def test_a_device_has_no_size_that_is_known() -> None:
    assert is_device("/dev/zero")
    with FileMemory(open_file("/dev/zero"), "/dev/zero") as memory:
        assert memory.size is None
        assert memory.read(1 << 40, 5000) == bytes(5000)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="needs /dev/net/tun")
def test_a_device_that_can_be_neither_read_nor_mapped() -> None:
    stream = open_file("/dev/net/tun")
    with (
        FileMemory(stream, "tun") as memory,
        pytest.raises(SourceError, match=r"^tun: reading 8 bytes.*nor can they be mapped"),
    ):
        memory.read(0, 8)


def test_what_is_mapped(file: str) -> None:
    with Path(file).open("rb") as stream:
        for offset, size in ((0, 10_000), (1, 1), (4095, 2), (9_000, 1_000)):
            assert mapped(stream.fileno(), offset, size) == DATA[offset : offset + size]


def test_mapped_in_units_of_a_dax_device(tmp_path: Path) -> None:
    """Whole units, as drivers/dax/device.c wants them: of a file that has them."""
    path = tmp_path / "units"
    path.write_bytes(DATA * 40)
    os.truncate(path, 6 << 16)
    with path.open("rb") as stream:
        data = path.read_bytes()
        for offset, size in ((0, 6 << 16), (65_535, 2), (70_000, 65_536)):
            assert mapped(stream.fileno(), offset, size, 1 << 16) == data[offset : offset + size]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, part in (("no", "No such file"), ("", "a directory"), ("fifo", "neither a file nor")):
        with pytest.raises(SourceError, match=part):
            open_file(str(tmp_path / name))
    with pytest.raises(SourceError, match="null"):
        open_file("a\0b")
    assert not is_device("a\0b") and not is_device(str(tmp_path))


PAGE = b"0123456789abcdef" * 256


def put(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "file"
    path.write_bytes(data)
    return str(path)


def test_a_region_has_the_size_of_its_ring_buffer(tmp_path: Path) -> None:
    data = ring(OLD_TEXT, 3, 9)
    size = ring_size(data)
    assert size is not None and size <= len(data)
    path = put(tmp_path, PAGE + data + PAGE * 20)
    spec, source = open_region(FileRegion("tk", path, 4096))
    with source.memory as memory:
        assert spec == RegionSpec("tk", 4096, size)
        assert memory.read(spec.address, spec.size) == data[:size]


def test_without_a_header_it_goes_to_the_end(tmp_path: Path) -> None:
    path = put(tmp_path, PAGE * 3)
    for named, spec in (
        (FileRegion("tk", path), RegionSpec("tk", 0, 3 * 4096)),
        (FileRegion("tk", path, 4096), RegionSpec("tk", 4096, 2 * 4096)),
        (FileRegion("tk", path, 4096, 5), RegionSpec("tk", 4096, 5)),
    ):
        found, source = open_region(named)
        source.memory.close()
        assert found == spec


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    data = ring(OLD_TEXT, 3, 9)
    spec, source = open_region(FileRegion("tk", put(tmp_path, data[:8192])))
    source.memory.close()
    assert spec.size == 8192


def test_a_device_of_unknown_size() -> None:
    with pytest.raises(SourceError, match="tk@file:/dev/zero:0x0:SIZE"):
        open_region(FileRegion("tk", "/dev/zero"))
    spec, source = open_region(FileRegion("tk", "/dev/zero", 5, 4096))
    source.memory.close()
    assert spec == RegionSpec("tk", 5, 4096)


@pytest.mark.parametrize(
    ("data", "offset", "size", "part"),
    [
        (b"", 0, None, "nothing at offset 0x0"),
        (PAGE, 4096, None, "has 4096 bytes: there is nothing at offset 0x1000"),
        (PAGE, 5000, 1, "nothing at offset"),
        (PAGE, 5, 4092, "more than there are"),
        (write_core([Segment(0x1000, PAGE)]), 0, None, "an ELF core, not plain memory.*--memory"),
        (write_kdump({1: PAGE}), 0, 64, "compressed dump.*--memory"),
        (flattened(PAGE), 0, None, "flattened dump.*--memory"),
        (b"\x28\xb5\x2f\xfd" + PAGE, 0, None, "unpack it first"),
        (b"QFI\xfb" + PAGE, 0, None, "disk image"),
    ],
)
def test_regions_that_are_none(
    tmp_path: Path, data: bytes, offset: int, size: int | None, part: str
) -> None:
    path = put(tmp_path, data)
    with pytest.raises(SourceError, match=part):
        open_region(FileRegion("tk", path, offset, size))


def test_memories(tmp_path: Path) -> None:
    path = put(tmp_path, flattened(write_kdump({5: PAGE})))
    with open_memory(MemoryFile(path)).memory as memory:
        assert memory.read(0x5000, 4096) == PAGE
    path = put(tmp_path, PAGE)
    with open_memory(MemoryFile(path, 0x5000)).memory as memory:
        assert memory.read(0x5000, 4096) == PAGE
    with pytest.raises(SourceError, match="FILE@ADDRESS"):
        open_memory(MemoryFile(path))
    with pytest.raises(SourceError, match="an ELF core, not plain memory"):
        open_memory(MemoryFile(put(tmp_path, write_core([Segment(0x1000, PAGE)])), 0x1000))
    with pytest.raises(SourceError, match="it is empty"):
        open_memory(MemoryFile(put(tmp_path, b""), 0x1000))
    with pytest.raises(SourceError, match="No such file"):
        open_memory(MemoryFile(str(tmp_path / "no")))
