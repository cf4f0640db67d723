"""An old kernel's snapshot and a new kernel's recover, with rings of a few events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import (
    REGION,
    TKA,
    TKB,
    Machine,
    kho_files,
    new_machine,
    old_machine,
)
from tests.support.ring.region_writer import RingBuffer, layout_615
from tracekit.capture.recover.recover import RecoverResult, recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import Diagnostic, NothingToRecover
from tracekit.session import Session
from tracekit.sysroot import Sysroot

RESERVED = "reserve_mem=64K:4K:tkA reserve_mem=64K:4K:tkB"
STATS = "sys/kernel/tracing/instances/tk/per_cpu/cpu0/stats"
MAPPED = "[    0.1] Tracing: mapped boot instance tk at physical memory {:#018x} of size {:#x}\n"


def ring(text_address: int, *events: int) -> bytes:
    """A region whose CPU n has ``events[n]`` events."""
    buffers = [RingBuffer(5, 4096) for _ in events]
    for buffer, count in zip(buffers, events, strict=True):
        for i in range(count):
            buffer.write(1000 + i, bytes(16))
    return layout_615(buffers, clock_id=9, text_addr=text_address, total_size=REGION).data


def machine_before() -> Machine:
    """The old kernel, which counted 41 events on CPU 0 and had KHO data to hand on."""
    files = {STATS: b"entries: 41\noverrun: 0\n"}
    carried = kho_files({"tkA": (TKA, REGION), "tkB": (TKB, REGION)})
    out = {rel.replace("/in/", "/out/"): data for rel, data in carried.items() if "/in/" in rel}
    return replace(old_machine(), files=files | out)


def machine_after(
    tka: bytes, tkb: bytes = bytes(REGION), cmdline: str = "", log: str = ""
) -> Machine:
    new = replace(new_machine(), regions={TKA: tka, TKB: tkb}, cmdline=cmdline)
    return replace(new, files={"dmesg": log.encode()} if log else {})


def run(tmp_path: Path, new: Machine, old: Machine | None = None) -> RecoverResult:
    snapshot(Sysroot((old or machine_before()).write(tmp_path / "old")), tmp_path / "S")
    return recover(Sysroot(new.write(tmp_path / "new")), tmp_path / "S")


def nothing(tmp_path: Path, new: Machine, old: Machine | None = None) -> str:
    """The explanation; the session has to be as the snapshot left it."""
    with pytest.raises(NothingToRecover) as caught:
        run(tmp_path, new, old)
    session = Session.open(tmp_path / "S")
    assert (session.boots, session.manifest.state) == ([0], "snapshot")
    assert not session.list("incoming/") and not session.list("boots/0/regions/")
    return str(caught.value)


def remark(result: RecoverResult, code: str) -> Diagnostic:
    (found,) = [d for d in result.diagnostics if d.code == code]
    return found
