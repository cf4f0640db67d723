"""Files with a machine's memory, known by their first bytes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf_core_writer import Segment, write_core
from tests.support.memory.kdump_writer import FLAT_HEADER, flatten, flattened, write_kdump
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.errors import SourceError

PAGE = b"0123456789abcdef" * 256
CORE = write_core([Segment(0x5000, PAGE)])
KDUMP = write_kdump({5: PAGE})


@pytest.mark.parametrize("data", [CORE, KDUMP, flattened(CORE), flattened(KDUMP)])
def test_what_is_read(data: bytes) -> None:
    stream = io.BytesIO(data)
    with open_dump(stream, "dump") as memory:
        assert memory.read(0x5000, 4096) == PAGE
        assert memory.describe() == "0x5000-0x6000"
    assert stream.closed


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "it is empty"),
        (PAGE, "FILE@ADDRESS"),
        (b"DISKDUMP" + PAGE, "makedumpfile -E"),
        (b"\x28\xb5\x2f\xfd" + PAGE, "unpack it first"),
        (b"LibvirtQemudSave" + PAGE, "virsh dump --memory-only"),
        (b"QEVM" + PAGE, "dump-guest-memory"),
        (b"QFI\xfb" + PAGE, "disk image"),
        (b"EMiL" + PAGE, "format=padded"),
        (b"\x7fELF", "not an ELF core"),
        (b"KDUMP   ", "header"),
        (flatten([(0, PAGE)]), "FILE@ADDRESS"),
        (flatten([]), "it is empty"),
        (flatten([(0, FLAT_HEADER)]), "makedumpfile -R"),
    ],
)
def test_what_is_not(data: bytes, part: str) -> None:
    stream = io.BytesIO(data)
    with pytest.raises(SourceError, match=f"^dump: .*{part}"):
        open_dump(stream, "dump")
    assert stream.closed


@given(st.sampled_from([b"", b"\x7fELF", b"KDUMP   ", FLAT_HEADER]), st.binary(max_size=200))
def test_rubbish(head: bytes, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"^dump: "):
        open_dump(io.BytesIO(head + data), "dump").read(0, 1)
