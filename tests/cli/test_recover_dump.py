"""``tracekit recover --dump`` and ``--tree``, and ``events --instance``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.cli import main


@pytest.fixture
def dump(capture: Callable[[str], Path]) -> str:
    return str(capture("vmcore-7.2") / "vmcore")


def test_a_dump(dump: str, tmp_path: Path, capsys) -> None:
    session = str(tmp_path / "session")
    assert main(["recover", "--dump", dump, session, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["boot"], document["release"], document["panic_cpu"]) == (0, "7.2.13", 0)
    assert {a["name"]: a["events"] for a in document["arrays"]}["used"] == 7066
    assert "used: 7066 events, clock mono, stopped" in err
    assert "work: 14874 events, clock x86-tsc, recorded to the end" in err
    assert "cpu 0: running unknown, panicked" in err
    assert f"tracekit report {session}" in err
    assert main(["report", session]) == 0
    assert "Linux 7.2.13" in capsys.readouterr().out
    assert main(["events", session, "--instance", "caught", "--format", "json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert main(["events", session, "--instance", "nothing"]) == 2
    assert "no buffer of this instance" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [["--sysroot", "/tmp"], ["--region", "a@0x1000:4K"], ["--wait-userspace"]]
)
def test_nothing_else_is_read_beside_it(dump: str, tmp_path: Path, capsys, more) -> None:
    assert main(["recover", "--dump", dump, *more, str(tmp_path / "session")]) == 2
    assert "--dump FILE is all that is read" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tree", "fdt", "session"], ["--dump", "dump"]])
def test_what_must_be_named(words: list[str], capsys) -> None:
    assert main(["recover", *words]) == 2
    assert "name the session's directory" in capsys.readouterr().err


def test_a_file_that_is_no_dump(tmp_path: Path, capsys) -> None:
    other = tmp_path / "file"
    other.write_bytes(b"something else" * 100)
    assert main(["recover", "--dump", str(other), str(tmp_path / "session")]) == 3
    assert "not a dump of memory that this reads" in capsys.readouterr().err
    assert not (tmp_path / "session").exists()
