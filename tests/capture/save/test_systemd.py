"""systemd's milestones: what is read, and how they get into a session."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.machine_trees import old_machine
from tracekit.capture.save import systemd
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import SourceError
from tracekit.session import Session
from tracekit.sysroot import Sysroot

MANAGER = """Version=257.8-1
KernelTimestamp=Sun 2026-11-22 17:00:00 UTC
KernelTimestampMonotonic=0
UserspaceTimestampMonotonic=2345678
FinishTimestampMonotonic={}
InitRDTimestampMonotonic=0
"""
UNITS = """Id=dev-vda.device
InactiveExitTimestampMonotonic=3000000
ActiveEnterTimestampMonotonic=3000000

Id=tracekit-recover.service
InactiveExitTimestampMonotonic=2500000
ActiveEnterTimestampMonotonic=0

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
"""


class Systemd:
    """Answers as ``systemctl show`` does; the boot is over at the ``finished``-th question."""

    def __init__(self, finished: int) -> None:
        self.finished = finished
        self.asked = 0

    def __call__(self, arguments: Sequence[str]) -> str:
        if arguments:
            assert arguments[0] == "*"
            return UNITS
        self.asked += 1
        return MANAGER.format(9876543 if self.asked >= self.finished else 0)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    snapshot(Sysroot(old_machine().write(tmp_path / "old")), tmp_path / "S")
    return tmp_path / "S"


def test_what_has_happened() -> None:
    assert systemd.read_manager(Systemd(1)) == {
        "UserspaceTimestampMonotonic": 2345678, "FinishTimestampMonotonic": 9876543,
    }  # fmt: skip
    assert systemd.read_units(Systemd(1)) == [
        {"id": "tracekit-recover.service", "inactive_exit": 2500000},
        {"id": "dev-vda.device", "inactive_exit": 3000000, "active_enter": 3000000},
    ]


def test_waits_for_the_end_of_the_boot(session: Path) -> None:
    slept: list[float] = []
    assert systemd.save_userspace(session, 0, 300, ask=Systemd(4), sleep=slept.append)
    assert len(slept) == 3
    saved = Session.open(session)
    document = saved.json("boots/0/systemd.json")
    assert document["manager"]["FinishTimestampMonotonic"] == 9876543
    assert document["units"][0]["id"] == "tracekit-recover.service"
    assert "boots/0/systemd.json" in saved.manifest.files
    assert saved.manifest.state == "snapshot"


def test_gives_up_waiting(session: Path) -> None:
    slept: list[float] = []
    assert not systemd.save_userspace(session, 0, 2, ask=Systemd(99), sleep=slept.append)
    assert sum(slept) == 2
    assert (
        "FinishTimestampMonotonic"
        not in Session.open(session).json("boots/0/systemd.json")["manager"]
    )


def test_beside_a_recorder(session: Path) -> None:
    """A recorder has the session open until the jump; the file is there all the same."""
    fd = os.open(session, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert systemd.save_userspace(session, 0, 1, ask=Systemd(1))
    finally:
        os.close(fd)
    assert Session.open(session).json("boots/0/systemd.json")["units"]
    assert not [p for p in (session / "boots/0").iterdir() if p.name.startswith(".")]


def test_the_stamps_of_the_way_down_join_those_of_the_way_up(session: Path) -> None:
    """Also where the file was saved beside a recorder, and so is not in the manifest."""
    fd = os.open(session, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        systemd.save_userspace(session, 0, 1, ask=Systemd(1))
    finally:
        os.close(fd)
    units = Session.open(session).json("boots/0/systemd.json")["units"]
    down = "UserspaceTimestampMonotonic=2345678\nShutdownStartTimestampMonotonic=77\n"
    document = json.loads(systemd.renewed(session, 0, ask=lambda _: down))
    assert document["units"] == units and len(units) == 2
    assert document["manager"]["ShutdownStartTimestampMonotonic"] == 77
    (session / "boots/0/systemd.json").write_text("[" * 100_000)
    for index in (0, 1):  # damaged; not there
        document = json.loads(systemd.renewed(session, index, ask=lambda _: down))
        assert document["units"] == [] and document["manager"]


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "systemctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_asks_systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, 'echo "$@" > "$0.args"; echo FinishTimestampMonotonic=7')
    assert systemd.read_manager() == {"FinishTimestampMonotonic": 7}
    assert (tmp_path / "systemctl.args").read_text() == "--no-pager show\n"


def test_systemd_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "echo Failed to connect to bus >&2; exit 1")
    with pytest.raises(SourceError, match="exit code 1: Failed to connect to bus"):
        systemd.read_manager()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="not found"):
        systemd.read_manager()


def test_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify_ready("nobody listens")
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        systemd.notify_ready("recovered boot 0")
        assert manager.recv(100) == b"READY=1\nSTATUS=recovered boot 0"
    with pytest.raises(SourceError, match="NOTIFY_SOCKET"):
        systemd.notify_ready("it has gone")


def test_stamps_are_json(session: Path) -> None:
    systemd.save_userspace(session, 0, 0, ask=Systemd(1))
    text = (session / "boots/0/systemd.json").read_text()
    assert set(json.loads(text)) == {"manager", "units"}
