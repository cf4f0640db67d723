"""Dumps and memory of other tools are called by their name."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.dumps.signatures import HEAD, identify
from tracekit.errors import SourceError


@pytest.mark.parametrize(
    ("head", "kind", "part"),
    [
        (b"KDUMP   \6\0\0\0", "kdump", "makedumpfile -E -d 0"),
        (b"DISKDUMP\1\0\0\0", "diskdump", "makedumpfile -E -d 0"),
        (b"makedumpfile\0\0\0\0" + bytes(16), "flattened", "makedumpfile -R"),
        (b"DBGC" + bytes(8), "ramoops", "mount -t pstore"),
        (b"\x28\xb5\x2f\xfd\x04", "packed", "unpack"),
        (b"\x1f\x8b\x08", "packed", "unpack"),
        (b"BZh91AY&SY", "packed", "unpack"),
        (b"PAGEDU64\x0f\0\0\0", "windows", "dump-guest-memory"),
        (b"\xd2\xbe\xd2\xbe\x08\0\0\0", "vmware", "vmss2core"),
    ],
)
def test_a_core_that_is_something_else(head: bytes, kind: str, part: str) -> None:
    found = identify(head)
    assert found is not None and found.kind == kind
    with pytest.raises(SourceError) as caught:
        ElfCore(io.BytesIO(head + bytes(4096)), "proc/vmcore")
    assert str(caught.value).startswith("proc/vmcore: not an ELF core: it is ")
    assert found.name in str(caught.value) and part in str(caught.value)


@given(st.binary(max_size=HEAD))
def test_any_bytes(head: bytes) -> None:
    found = identify(head)
    assert found is None or (found.name and found.remedy)
    assert identify(b"\x7fELF" + head) is None
