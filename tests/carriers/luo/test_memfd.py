"""LUO: what a machine has of it, and what its calls say where it is not there.

The calls themselves run in the lab (``tests/lab/guests/test_no_disk.py``).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracekit.carriers.choice import verdicts
from tracekit.carriers.luo.memfd import LiveUpdate, LuoMemfd, LuoSession, session_name_fits
from tracekit.carriers.machine import Machine
from tracekit.errors import SourceError
from tracekit.sysroot import Sysroot

RELEASE = "7.3.4"


def machine(where: Path, cmdline: str, config: str | None = None, device: bool = False) -> Machine:
    (where / "proc").mkdir()
    (where / "proc/cmdline").write_text(cmdline)
    (where / "proc/version").write_text(f"Linux version {RELEASE} (x)")
    if config is not None:
        (where / "boot").mkdir()
        (where / f"boot/config-{RELEASE}").write_text(config)
    if device:
        (where / "dev").mkdir()
        (where / "dev/liveupdate").write_bytes(b"")
    return Machine(Sysroot(where))


BUILT = "CONFIG_LIVEUPDATE=y\nCONFIG_KEXEC_HANDOVER=y\n"


@pytest.mark.parametrize(
    ("cmdline", "config", "device", "state", "why", "remedy"),
    [
        ("kho=on liveupdate=on", BUILT, True, "ready", "liveupdate is there", ""),
        ("kho=on", BUILT, False, "possible", "no liveupdate=", "boot with kho=on liveupdate=on"),
        ("liveupdate=off", BUILT, False, "possible", "liveupdate=off", "kho=on liveupdate=on"),
        ("liveupdate=on", BUILT, False, "possible", "KHO is off", "boot with kho=on"),
        ("kho=on liveupdate=on", BUILT, False, "unknown", "no /dev/liveupdate", "kernel's log"),
        ("kho=on", "CONFIG_KEXEC_HANDOVER=y\n", False, "no", "has no live update", ""),
        ("kho=on", None, False, "unknown", "no liveupdate=", "to find out"),
    ],
)
def test_what_a_machine_has(
    tmp_path: Path,
    cmdline: str,
    config: str | None,
    device: bool,
    state: str,
    why: str,
    remedy: str,
) -> None:
    verdict = LuoMemfd().describe(machine(tmp_path, cmdline, config, device))
    assert verdict.state == state and why in verdict.why and remedy in verdict.remedy


def test_it_is_among_the_carriers(tmp_path: Path) -> None:
    found = [v.carrier for v in verdicts(machine(tmp_path, "kho=on", BUILT))]
    assert "luo" in found and len(set(found)) == len(found)


def test_no_device_here(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is none: boot with kho=on liveupdate=on"):
        LiveUpdate(str(tmp_path / "liveupdate"))


def test_a_file_that_is_not_the_device(tmp_path: Path) -> None:
    """Every call that fails says which, and what to do."""
    file = tmp_path / "liveupdate"
    file.write_bytes(b"")
    with LiveUpdate(str(file)) as device:
        with pytest.raises(SourceError, match=r"no session 'lab' can be made: .*does not know"):
            device.create("lab")
        with pytest.raises(SourceError, match="the session 'lab' cannot be retrieved: "):
            device.retrieve("lab")
    fd = os.open(file, os.O_RDWR)
    with LuoSession(fd, "lab") as session:
        with pytest.raises(SourceError, match="a memfd cannot be preserved in the session 'lab'"):
            session.preserve(fd, 1)
        with pytest.raises(SourceError, match="file 1 of the session 'lab' cannot be retrieved"):
            session.retrieve(1)
        with pytest.raises(SourceError, match="the session 'lab' cannot be finished"):
            session.finish()


def test_names() -> None:
    assert session_name_fits("a" * 63) and session_name_fits("ä")
    assert not any(session_name_fits(name) for name in ("", "a" * 64, "ä" * 32, "a\0b"))
