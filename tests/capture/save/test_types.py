"""The kernel's types: saved where arguments of functions are recorded, and once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import btf_writer as w
from tests.support.machine_trees import old_machine
from tracekit.capture.save.snapshot import snapshot
from tracekit.ftrace.context import Parameter
from tracekit.session import Session
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot

OPTIONS = "sys/kernel/tracing/trace_options"
OF_INSTANCE = "sys/kernel/tracing/instances/foo/trace_options"


def types() -> bytes:
    writer = w.Writer()
    unsigned = writer.add(w.INT, "unsigned int", 4, struct.pack("<I", 32))
    signed = writer.add(w.INT, "int", 4, struct.pack("<I", 1 << 24 | 32))
    values = struct.pack("<IiIi", writer.text("FIRST"), -1, writer.text("SAME"), -1)
    mode = writer.add(w.ENUM, "mode", 4, values, 2)
    kuid = writer.members(w.STRUCT, "kuid", 4, ("val", unsigned, 0, 0))
    const = writer.add(w.CONST, "", kuid)
    writer.function("f", 0, ("u", unsigned), ("i", signed), ("m", mode), ("k", const), ("", 0))
    return writer.bytes()


def saved(base: Path, files: dict[str, bytes]) -> Session:
    root = Sysroot(replace(old_machine(), files=files).write(base / "tree"))
    snapshot(root, base / "S")
    return Session.open(base / "S")


@pytest.mark.parametrize(
    ("options", "is_saved"),
    [
        ({OPTIONS: b"print-parent\nnofuncgraph-args\nnofunc-args\n"}, False),
        ({OPTIONS: b"print-parent\nfuncgraph-args\n"}, True),
        ({OF_INSTANCE: b"func-args\nnosym-addr\n"}, True),
        ({}, False),
    ],
)
def test_where_an_option_is_on(tmp_path: Path, options: dict[str, bytes], is_saved: bool) -> None:
    session = saved(tmp_path, {"sys/kernel/btf/vmlinux": types(), **options})
    assert session.has("boots/0/btf") == is_saved
    prototypes = Boot(session, 0).context.prototypes
    assert (prototypes is not None) == is_saved
    if prototypes:
        known: Sequence[Parameter] = prototypes.of("f") or ()
        assert [(p.name, p.size) for p in known] == \
            [("u", 4), ("i", 4), ("m", 4), ("k", 4), ("", 0)]  # fmt: skip
        assert [p.kind for p in known] == ["UNSIGNED", "INT", "ENUM", "STRUCT", "UNKNOWN"]
        assert [p.values for p in known] == [{}, {}, {-1: "FIRST"}, {}, {}]
        assert prototypes.of("g") == ()


def test_damaged_types_are_remarked_on_and_cost_names_alone(tmp_path: Path) -> None:
    session = saved(tmp_path, {"sys/kernel/btf/vmlinux": b"no BTF at all", OPTIONS: b"func-args\n"})
    boot = Boot(session, 0)
    assert boot.context.prototypes is not None
    assert boot.context.prototypes.of("f") is None
    assert [d.where for d in boot.diagnostics if d.code == "file-unreadable"] == ["boot 0 btf"]
