"""The systemd units: accepted by systemd, hardened, and allowed what their commands do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.sessions.recovering import new_machine_tree
from tracekit.capture.cmdline.crash import UNIT, plan_crash
from tracekit.capture.cmdline.setup import AFTER_RECOVER, UNITS, Options, make_plan

EXPOSURE = 5.0
ROOT = Path(__file__).parents[3]
SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    SYSTEMD is None, reason="NOT TESTED: THE UNITS' HARDENING: there is no systemd-analyze here"
)
needs_strace = pytest.mark.skipif(
    SYSTEMD is None or shutil.which("strace") is None,
    reason="NOT TESTED: THE UNITS' SYSTEM CALLS: there is no systemd-analyze and strace here",
)


@pytest.fixture
def units(tmp_path: Path) -> dict[str, Path]:
    """Every unit as it is installed, by name."""
    (tmp_path / "root").mkdir()
    program = shutil.which("true")
    wanted = Options(tmp_path / "root", kernel="/boot/k", program=program, carrier="kho")
    plan = make_plan(replace(wanted, after_recover="/srv/sessions/"))
    found = {}
    for name in (*UNITS, AFTER_RECOVER):
        found[name] = tmp_path / name
        found[name].write_text(plan.files[f"etc/systemd/system/{name}"])
    crash = plan_crash(tmp_path / "root", command=program)
    found[UNIT] = tmp_path / UNIT
    found[UNIT].write_text(crash.files[f"etc/systemd/system/{UNIT}"])
    return found


def analyze(*words: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, cwd="/"
    )
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_accepts_the_units(units: dict[str, Path]) -> None:
    newer = "SurviveFinalKillSignal"  # of systemd 255; older ones ignore it
    told = analyze("verify", "--man=no", *units.values()).splitlines()
    assert not [line for line in told if "tracekit-" in line and newer not in line]


@needs_systemd
@pytest.mark.parametrize("name", [*UNITS, AFTER_RECOVER, UNIT])
def test_a_unit_is_hardened(units: dict[str, Path], name: str) -> None:
    told = analyze("security", "--offline=true", "--no-pager", units[name])
    if "unrecognized option '--offline" in told:
        pytest.skip("NOT TESTED: THE UNITS' HARDENING: this systemd-analyze has no --offline")
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert level is not None and float(level[1]) <= EXPOSURE, told


@pytest.mark.parametrize("name", [*UNITS, AFTER_RECOVER, UNIT])
def test_what_stays_open_has_its_reason(units: dict[str, Path], name: str) -> None:
    text = units[name].read_text()
    comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert "Open stay" in comments and "- root" in comments


def test_the_recorder_has_no_mounts_of_its_own(units: dict[str, Path]) -> None:
    """It lives on while the file systems are unmounted; these all give it a mount namespace."""
    text = units["tracekit-record.service"].read_text()
    own = r"^(ProtectSystem|ProtectHome|Private\w+|ProtectKernel\w+|ProtectControlGroups|Protect" \
        r"Proc|ProcSubset|\w*Paths|BindPaths|TemporaryFileSystem|MountAPIVFS|Root\w+)="  # fmt: skip
    assert re.findall(own, text, re.M) == []


def allowed(unit: Path) -> set[str]:
    """The system calls that a unit's filter lets through."""
    words = re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.M)
    todo, calls = {word for line in words for word in line.split()}, set()
    while todo:
        name = todo.pop()
        if name.startswith("@"):
            listed = analyze("syscall-filter", "--no-pager", name).splitlines()
            todo |= {word.strip() for word in listed if word[:1] == " " and "#" not in word}
        else:
            calls.add(name)
    return calls


def made(tmp_path: Path, *command: str) -> set[str]:
    """The system calls that a command makes."""
    log = tmp_path / "strace"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", log, sys.executable, "-m", "tracekit", *command],
        check=False, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M))


@needs_strace
def test_recover_makes_no_call_that_its_unit_forbids(
    tmp_path: Path, units: dict[str, Path]
) -> None:
    tree = new_machine_tree(tmp_path)
    calls = made(tmp_path, "recover", "--sysroot", str(tree), str(tmp_path / "S"))
    if not calls:
        pytest.skip("NOT TESTED: THE UNITS' SYSTEM CALLS: strace may not trace here")
    assert {"openat", "read", "fsync"} <= calls
    assert calls - allowed(units["tracekit-recover.service"]) == set()


@needs_strace
def test_the_metrics_are_written_as_the_unit_says(
    tmp_path: Path, session: Callable[[str], Path]
) -> None:
    """The line itself, as systemd splits it; and it calls nothing that the unit forbids."""
    program = tmp_path / "tracekit"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={ROOT} exec strace -f -qq -o {tmp_path}/strace "
        f'{sys.executable} -m tracekit "$@"\n'
    )
    program.chmod(0o755)
    (tmp_path / "root").mkdir()
    metrics = tmp_path / "metrics" / "tracekit.prom"
    plan = make_plan(
        Options(
            tmp_path / "root", kernel="/boot/k", program=str(program), carrier="kho",
            session=str(session("demo")), metrics=str(metrics),
        )
    )  # fmt: skip
    unit = tmp_path / "tracekit-recover.service"
    unit.write_text(plan.files["etc/systemd/system/tracekit-recover.service"])
    (line,) = re.findall(r"^ExecStopPost=-(.*)$", unit.read_text(), re.M)
    subprocess.run(shlex.split(line), check=True, capture_output=True, umask=0o077, cwd="/")
    assert (metrics.stat().st_mode & 0o777, metrics.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert "tracekit_handover_blackout_seconds" in metrics.read_text()
    calls = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "strace").read_text(), re.M))
    if calls:  # else strace may not trace here
        assert "fsync" in calls
        assert calls - allowed(unit) == set()


def test_recover_is_started_after_every_way_down(units: dict[str, Path]) -> None:
    """A kexec, a reboot or panic with a carve-out, a crash kernel; only where something waits."""
    text = units["tracekit-recover.service"].read_text()
    conditions = re.findall(r"^ConditionKernelCommandLine=(.*)$", text, re.M)
    assert conditions == ["|tracekit.session", "|memmap", "|elfcorehdr"]
    assert re.search(r"^ExecCondition=\S+ recover --pending$", text, re.M)
    assert re.search(r"^SuccessExitStatus=5$", text, re.M)  # NothingToRecover
    for name in ("tracekit-recover.service", "tracekit-record.service"):
        assert "DeviceAllow=/dev/mem r\n" in units[name].read_text()
