"""The session that the kernel's command line names, and recover's use of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.machine_trees import new_machine
from tracekit.capture.cmdline.session_param import (
    default_session,
    luo_directory,
    luo_from_cmdline,
    luo_name,
    named_session,
    session_from_cmdline,
)
from tracekit.cli import main
from tracekit.errors import UsageError
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
