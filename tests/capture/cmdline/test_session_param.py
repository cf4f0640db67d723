"""The session that the kernel's command line names, and recover's use of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.machine_trees import new_machine
from tracekit.capture.cmdline.session_param import named_session, session_from_cmdline
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
