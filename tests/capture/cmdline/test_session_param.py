"""The session that the kernel's command line names, and recover's use of it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, new_machine, old_machine
from tests.support.sessions.handed_over import ring
from tracekit.capture.cmdline.session_param import (
    crash_session,
    default_session,
    find_session,
    luo_directory,
    luo_from_cmdline,
    luo_name,
    named_session,
    recovered_session,
    session_from_cmdline,
    session_with,
    waiting_session,
)
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.cli import main
from tracekit.errors import SessionError, UsageError
from tracekit.sysroot import Sysroot


def root(tmp_path: Path, cmdline: str) -> Sysroot:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(f"{cmdline}\n")
    return Sysroot(tmp_path)


@pytest.mark.parametrize(
    ("cmdline", "session"),
    [
        ("quiet tracekit.session=/var/lib/tracekit/S kho=on", "/var/lib/tracekit/S"),
        ('tracekit.session="/srv/my kexecs/S"', "/srv/my kexecs/S"),
        ("tracekit.session=/a tracekit.session=/b", "/b"),
        ("quiet -- tracekit.session=/init/gets/this", None),
        ("tracekit_session=/a tracekit.sessions=/b", None),
        ("", None),
    ],
)
def test_what_the_command_line_names(cmdline: str, session: str | None) -> None:
    assert named_session(cmdline) == session


def test_the_session_is_taken_from_it(tmp_path: Path) -> None:
    assert session_from_cmdline(root(tmp_path, "kho=on tracekit.session=/srv/S")) == "/srv/S"


@pytest.mark.parametrize(
    ("cmdline", "told"),
    [
        ("quiet", "has no tracekit.session="),
        ("tracekit.session=S", "'S' is no absolute path"),
        ("tracekit.session=../S", "no absolute path"),
        ("tracekit.session", "has no tracekit.session="),
        ('tracekit.session="/S\x1b[2J"', "no absolute path"),
    ],
)
def test_what_names_none(tmp_path: Path, cmdline: str, told: str) -> None:
    with pytest.raises(UsageError, match="session") as caught:
        session_from_cmdline(root(tmp_path, cmdline))
    assert told in str(caught.value)


def test_recover_wants_it_named_for_a_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = new_machine().write(tmp_path / "new")
    assert main(["recover", "--sysroot", str(tree)]) == 2
    assert "name the session's directory" in capsys.readouterr().err
    assert main(["recover", "--sysroot", str(tree), "--wait-userspace", str(tmp_path / "S")]) == 2
    assert "for the running machine" in capsys.readouterr().err
    assert not (tmp_path / "S").exists()


# -- after a reboot or a panic ----------------------------------------------------------------

HALF = 0x70000000
CARVED = f"memmap=128K${HALF:#x} trace_instance=tk^traceoff@{HALF:#x}:64K"
OTHER_HALF = CARVED.replace(f"@{HALF:#x}", f"@{HALF + 0x10000:#x}")


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "sessions"
    monkeypatch.setattr("tracekit.capture.cmdline.session_param.SESSIONS", place)
    return place


def recorded(sessions: Path, name: str, cmdline: str = CARVED, boot_id: str = "1-old") -> Path:
    """A session with a snapshot of a kernel of that command line; the last one is the newest."""
    machine = replace(old_machine(), cmdline=cmdline, boot_id=boot_id)
    snapshot(Sysroot(machine.write(sessions.parent / f"of-{name}")), sessions / name)
    for age, path in enumerate(sorted(sessions.iterdir(), key=lambda p: p.name, reverse=True)):
        os.utime(path / "manifest.json", (1000 - age, 1000 - age))
    return sessions / name


def booted(tmp_path: Path, cmdline: str, boot_id: str = "2-new", **files: bytes) -> Sysroot:
    machine = replace(new_machine(), cmdline=cmdline, boot_id=boot_id, kho=None, files=files)
    return Sysroot(machine.write(tmp_path / "tree"))


@pytest.mark.parametrize(
    "cmdline",
    [CARVED, OTHER_HALF, f"quiet memmap=1M${HALF:#x}", "elfcorehdr=0x60000000 nr_cpus=1"],
)
def test_the_newest_that_waits_is_found(tmp_path: Path, sessions: Path, cmdline: str) -> None:
    recorded(sessions, "a")
    newest = recorded(sessions, "b")
    root = booted(tmp_path, cmdline)
    assert waiting_session(root) == newest
    assert find_session(root) == str(newest)
    assert find_session(root, "/given") == "/given"


def test_the_command_line_counts_first(tmp_path: Path, sessions: Path) -> None:
    recorded(sessions, "a")
    assert find_session(booted(tmp_path, f"{CARVED} tracekit.session=/srv/S")) == "/srv/S"


def test_what_does_not_wait(tmp_path: Path, sessions: Path) -> None:
    recorded(sessions, "elsewhere", CARVED.replace(f"{HALF:#x}", "0x50000000"))
    recorded(sessions, "kho", old_machine().cmdline)
    recorded(sessions, "this-boot", boot_id="2-new")
    recorded(sessions, "no-instance", "quiet")
    (sessions / "torn").mkdir()
    (sessions / "torn/manifest.json").write_text("{")
    (sessions / "file").write_text("")
    root = booted(tmp_path, CARVED)
    assert waiting_session(root) is None
    with pytest.raises(UsageError, match=r"elsewhere was recorded at 0x50000000, which no memmap="):
        find_session(root)


def test_a_session_elsewhere_is_asked_by_name(tmp_path: Path, sessions: Path) -> None:
    named = recorded(sessions, "named")
    elsewhere = named.rename(tmp_path / "elsewhere")
    root = booted(tmp_path, CARVED)
    assert waiting_session(root) is None
    assert waiting_session(root, str(elsewhere)) == elsewhere
    assert waiting_session(root, str(tmp_path / "absent")) is None


def test_what_kho_brought_after_a_kexec_by_hand(tmp_path: Path, sessions: Path) -> None:
    waiting = recorded(sessions, "kho", old_machine().cmdline)
    root = Sysroot(replace(new_machine(), boot_id="2-new").write(tmp_path / "tree"))
    assert waiting_session(root) == waiting


def test_no_session_at_all(tmp_path: Path, sessions: Path) -> None:
    with pytest.raises(UsageError, match=r"no session below .* waits"):
        find_session(booted(tmp_path, CARVED))


def test_recover_ends_the_waiting_and_record_goes_on_in_it(tmp_path: Path, sessions: Path) -> None:
    session = recorded(sessions, "a")
    root = booted(tmp_path, OTHER_HALF)
    assert default_session(root) != session
    device = {HALF: ring(OLD_TEXT, 3, 4), HALF + 0x10000: ring(0, 0)}
    iomem = {"proc/iomem": f"{HALF:x}-{HALF + 0x1FFFF:x} : Reserved\n".encode()}
    machine = replace(new_machine(), cmdline=OTHER_HALF, boot_id="2-new", kho=None, regions={})
    tree = replace(machine, device=device, files=iomem).write(tmp_path / "next")
    with pytest.raises(SessionError, match="what came before this boot"):
        recovered_session(Sysroot(tree))
    result = recover(Sysroot(tree), find_session(Sysroot(tree)))
    assert [r.boot for r in result.regions][:1] == [0]
    assert recovered_session(Sysroot(tree)) == session
    assert waiting_session(Sysroot(tree)) is None
    assert default_session(Sysroot(tree)) == session


# -- in a crash kernel ------------------------------------------------------------------------

CRASHED = "elfcorehdr=0x60000000 nr_cpus=1"


def test_a_crash_kernel_goes_on_with_the_session_of_the_boot_that_died(
    tmp_path: Path, sessions: Path
) -> None:
    """Also where it was not recorded into memory, and another session is newer."""
    plain = recorded(sessions, "a", "quiet", boot_id="1-dead")
    waiting = recorded(sessions, "b")
    root = booted(tmp_path, CRASHED)
    assert crash_session(root, "1-dead") == str(plain)
    assert crash_session(root, "1-dead", "/given") == "/given"
    assert crash_session(root, None) == str(waiting)  # by what the kernel was left
    assert not session_with(root, str(plain))
    assert session_with(booted(tmp_path, CRASHED, "1-dead"), str(plain))
    assert not session_with(root, str(tmp_path / "absent"))


def test_a_crash_kernel_with_a_session_of_its_own(tmp_path: Path, sessions: Path) -> None:
    recorded(sessions, "another", boot_id="1-old")
    root = booted(tmp_path, CRASHED, boot_id="2-new-crash")
    own = Path(crash_session(root, "1-dead"))
    assert own.parent == sessions and re.fullmatch(r"crash-\d{8}-2newcras", own.name)
    earlier = sessions / "crash-20200101-2newcras"  # before midnight
    earlier.mkdir()
    assert crash_session(root, "1-dead") == str(earlier)


def test_a_crash_kernel_with_the_dead_ones_command_line(tmp_path: Path, sessions: Path) -> None:
    root = booted(tmp_path, f"{CRASHED} tracekit.session=/srv/S")
    assert crash_session(root, "1-dead") == "/srv/S"
    root = booted(tmp_path, f"{CRASHED} tracekit.session=luo:S")  # what was there is gone
    assert Path(crash_session(root, "1-dead")).name.startswith("crash-")


# -- sessions that cross in memory ------------------------------------------------------------


def test_names_of_sessions_in_memory() -> None:
    assert luo_name("luo:lab") == "lab"
    assert luo_name("/srv/luo:lab") is None and luo_name(None) is None


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "a b", "a=b", "a" * 49, "systemd", "tracekit-canary", 'a"', "ä"]
)
def test_names_that_no_session_in_memory_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="a session is called luo:NAME"):
        luo_name(f"luo:{name}")


def test_where_a_session_that_came_in_memory_is(tmp_path: Path) -> None:
    """One directory a boot: recover, and what records there, find the same."""
    machine = root(tmp_path, "kho=on tracekit.session=luo:lab")
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("../../1234-5678\n")
    assert luo_from_cmdline(machine) == "lab"
    expected = Path("/var/lib/tracekit/lab-12345678")
    assert luo_directory(machine, "lab") == default_session(machine) == expected
    assert session_from_cmdline(machine) == str(expected)
    assert luo_directory(machine, "new") == Path("/run/tracekit/new-12345678")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["snapshot", "-o", "luo:lab"], "a snapshot goes to a directory"),
        (["record", "-o", "luo:lab"], "record with -o DIR on a tmpfs"),
        (["handover", "--kernel", "k", "-o", "luo:lab", "--via", "systemctl"], "--via kexec"),
        (["handover", "--kernel", "k", "--canary", "1M", "--load-only"], "no --load-only"),
        (["handover", "--kernel", "k", "--canary", "1"], "whole pages"),
        (["handover", "--kernel", "k", "--session", "luo:a/b"], "a session is called luo:NAME"),
    ],
)
def test_what_a_session_in_memory_is_not_for(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert why in " ".join(capsys.readouterr().err.split())
