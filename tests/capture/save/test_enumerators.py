"""Enumerators that print formats name: out of BTF into the session, and from there into texts."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.btf_writer import Writer
from tests.support.machine_trees import old_machine
from tests.support.text_records import HEADER
from tracekit.btf import Btf
from tracekit.capture.save.enumerators import named_in
from tracekit.capture.save.snapshot import snapshot
from tracekit.session import Session
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot

ENUM, ENUM64 = 6, 19
FORMAT = (
    "name: flags\nID: 900\nformat:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"
    "\tfield:unsigned long flags;\toffset:8;\tsize:8;\tsigned:0;\n\n"
    'print fmt: "flags=%s FAKE_NAME", __print_flags(REC->flags, "|", { (1 << ORDERED_REGULAR), '
    '"REGULAR" }, { BIG_ONE, "BIG" }, { TWICE, "TWICE" })\n'
)


def types() -> bytes:
    """Three enumerations; TWICE is in two, with other values."""
    writer = Writer()

    def members(layout: str, *pairs: tuple[str, int]) -> bytes:
        return b"".join(
            struct.pack(
                layout,
                writer.text(name),
                value & 0xFFFFFFFF,
                *([value >> 32 & 0xFFFFFFFF] if layout == "<III" else []),
            )
            for name, value in pairs
        )

    writer.add(ENUM, "a", 4, members("<II", ("ORDERED_REGULAR", 1), ("TWICE", 2)), vlen=2)
    writer.add(
        ENUM, "", 4, members("<II", ("NEGATIVE", -1), ("TWICE", 4), ("SAME", 7)), vlen=3, flag=True
    )
    writer.add(ENUM64, "b", 8, members("<III", ("BIG_ONE", 1 << 40), ("SAME", 7)), vlen=2)
    return writer.bytes()


def test_out_of_btf() -> None:
    wanted = {"ORDERED_REGULAR", "TWICE", "NEGATIVE", "BIG_ONE", "SAME", "ABSENT"}
    assert Btf(types()).enumerators(wanted) == {
        "ORDERED_REGULAR": 1, "NEGATIVE": -1, "BIG_ONE": 1 << 40, "SAME": 7,
    }  # fmt: skip


def test_names_in_print_formats() -> None:
    names = named_in([FORMAT.encode()])
    assert {"ORDERED_REGULAR", "BIG_ONE", "TWICE"} <= names
    assert not names & {"REC", "flags", "FAKE_NAME", "REGULAR", "__print_flags"}


@pytest.mark.parametrize(
    ("btf", "text"),
    [(types(), "REGULAR|BIG|(?0x8)"), (None, "(?0x1000000000a)"), (b"no BTF", "(?0x1000000000a)")],
)
def test_a_snapshot_has_them(tmp_path: Path, btf: bytes | None, text: str) -> None:
    files = {"sys/kernel/tracing/events/sys/flags/format": FORMAT.encode()}
    if btf is not None:
        files["sys/kernel/btf/vmlinux"] = btf
    root = Sysroot(replace(old_machine(), files=files).write(tmp_path / "tree"))
    snapshot(root, tmp_path / "S")
    session = Session.open(tmp_path / "S")
    value = 1 << 40 | 2 | 8
    record = struct.pack("<HBBi", 900, 0, 0, 1) + struct.pack("<Q", value)
    shown = Boot(session, 0).renderer(900).render(record)
    assert shown == f"flags={text} FAKE_NAME"
    assert len(HEADER) == 8
    if btf == types():
        document = json.loads(session.read("boots/0/enumerators.json"))
        assert document["values"] == {"ORDERED_REGULAR": 1, "BIG_ONE": 1 << 40}
        before = (tmp_path / "S/boots/0/enumerators.json").stat().st_mtime_ns
        snapshot(root, tmp_path / "S")  # what was asked for is not looked for again
        assert (tmp_path / "S/boots/0/enumerators.json").stat().st_mtime_ns == before


def module_types(base: bytes, name: str, value: int) -> bytes:
    """A module's BTF: one enumeration, its own name and one of the kernel's strings."""
    strings = Btf(base)
    header, _, _, str_off, str_len = struct.unpack_from("<5I", base, 4)
    shared = base.index(b"SAME\0", header + str_off) - header - str_off
    own = b"\0" + name.encode() + b"\0"
    types_ = struct.pack("<III", 0, ENUM << 24 | 2, 4)
    types_ += struct.pack("<IIII", str_len + 1, value, shared, 7)
    assert strings
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types_), len(types_), len(own)) \
        + types_ + own  # fmt: skip


def test_those_of_modules(tmp_path: Path) -> None:
    """Their strings go on where the kernel's end; two that differ are not told."""
    base = types()
    module = Btf(module_types(base, "OF_MODULE", 5), "module", Btf(base))
    assert module.enumerators({"OF_MODULE", "SAME"}) == {"OF_MODULE": 5, "SAME": 7}
    text = FORMAT.replace("FAKE_NAME", "").replace("TWICE, ", "OF_MODULE, ")
    machine = old_machine()
    files = {
        "sys/kernel/tracing/events/fake/flags/format": text.encode(),
        "sys/kernel/btf/vmlinux": base,
        "sys/kernel/btf/one": module_types(base, "OF_MODULE", 5),
        "sys/kernel/btf/two": module_types(base, "OTHER", 6),
        "sys/kernel/btf/bad": b"\x9f\xeb\0OF_MODULE\0",
        "sys/kernel/btf/without": b"\x9f\xeb",  # not even looked into
    }
    root = replace(machine, files=files).write(tmp_path / "root")
    result = snapshot(Sysroot(root), tmp_path / "S")
    saved = json.loads((tmp_path / "S/boots/0/enumerators.json").read_text())["values"]
    assert saved["OF_MODULE"] == 5 and saved["ORDERED_REGULAR"] == 1
    assert [d.where for d in result.diagnostics if d.code == "btf-unreadable"] == [
        "boot 0 sys/kernel/btf/bad"
    ]
    differing = {**files, "sys/kernel/btf/two": module_types(base, "OF_MODULE", 6)}
    root = replace(machine, files=differing).write(tmp_path / "differing")
    snapshot(Sysroot(root), tmp_path / "D")
    saved = json.loads((tmp_path / "D/boots/0/enumerators.json").read_text())["values"]
    assert "OF_MODULE" not in saved
