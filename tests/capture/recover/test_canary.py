"""The canary, looked at after the jump: a carve-out in a saved tree; LUO's runs in the lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracekit.capture.recover.canary import check_canary
from tracekit.session import Session, SessionWriter
from tracekit.session.canary import PAGE, Canary, Physical, chunks
from tracekit.sysroot import Sysroot

SEED, ADDRESS, PAGES = bytes(32), 0x200000, 5
OLD, NEW = "the old boot", "the new boot"
RESERVED = f"{ADDRESS:08x}-{ADDRESS + (1 << 20) - 1:08x} : Reserved\n"


def kernel(boot_id: str) -> bytes:
    return json.dumps({"known": True, "boot_id": boot_id, "release": "7.3.4"}).encode()


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Boot 0 has filled a canary."""
    size = PAGES * PAGE
    canary = Canary(SEED.hex(), size, "carveout", (Physical(0, ADDRESS, size),))
    with SessionWriter.open(tmp_path / "s") as writer:
        writer.write("boots/0/kernel.json", kernel(OLD))
        writer.write("boots/0/canary.json", canary.encode())
        writer.add_boot(0)
        writer.finish("snapshot")
    return tmp_path / "s"


def machine(where: Path, *, iomem: str = RESERVED, write: bytes = b"", at: int = 0) -> Sysroot:
    """The new boot, with the carve-out in /dev/mem."""
    memory = bytearray(b"".join(data for _, data in chunks(SEED, PAGES * PAGE)))
    memory[at : at + len(write)] = write
    for name, data in (
        ("proc/sys/kernel/random/boot_id", NEW.encode()),
        ("proc/iomem", iomem.encode()),
        ("dev/mem", bytes(ADDRESS) + memory),
    ):
        path = where / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Sysroot(where / "root")


def test_as_it_was_left(session: Path, tmp_path: Path) -> None:
    """Once looked at, it is not looked at again: by then somebody may use the memory."""
    root = machine(tmp_path)
    checked = check_canary(root, session)
    assert checked is not None and checked[0] == 0
    findings = checked[1].findings
    assert findings is not None and (findings.read_in, findings.changed) == (NEW, 0)
    assert check_canary(root, session) is None
    assert Session.open(session).manifest.state == "snapshot"
    assert Session.open(session).diagnostics == []


def test_a_stray_write(session: Path, tmp_path: Path) -> None:
    checked = check_canary(machine(tmp_path, write=b"\xee" * 10, at=2 * PAGE + 3), session)
    assert checked is not None and checked[1].findings is not None
    (change,) = checked[1].findings.changes
    assert (change.address, change.size) == (ADDRESS + 2 * PAGE + 3, 10)
    saved = Session.open(session).json("boots/0/canary.json")
    assert saved["findings"]["changed"] == 10


def test_memory_that_the_new_kernel_uses(session: Path, tmp_path: Path) -> None:
    """It is not read, and looked for again: the next recover may be told better."""
    iomem = RESERVED.replace("Reserved", "System RAM")
    checked = check_canary(machine(tmp_path, iomem=iomem), session)
    assert checked is not None and checked[1].findings is not None
    assert "calls 0x200000 System RAM" in checked[1].findings.problem
    again = check_canary(machine(tmp_path), session)
    assert again is not None and again[1].findings is not None
    assert again[1].findings.problem == ""


def test_the_boot_that_filled_it_does_not_look(session: Path, tmp_path: Path) -> None:
    root = machine(tmp_path)
    (tmp_path / "root/proc/sys/kernel/random/boot_id").write_text(OLD)
    assert check_canary(root, session) is None


def test_no_canary(tmp_path: Path) -> None:
    with SessionWriter.open(tmp_path / "s") as writer:
        writer.write("boots/0/kernel.json", kernel(OLD))
        writer.add_boot(0)
        writer.finish("snapshot")
    assert check_canary(machine(tmp_path), tmp_path / "s") is None
    assert check_canary(machine(tmp_path), tmp_path / "none") is None
