"""Reports that are kept in their session: the same text, at once, and only while it is true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_demo import TARGET
from tracekit.browse.open import open_events, open_recording
from tracekit.cli import main
from tracekit.timeline import events

LOADED = """
import sys
from tracekit.cli import main
assert main(sys.argv[1:]) in (None, 0)
print(*(m for m in ("numpy", "pyarrow", "tracekit.recording") if m in sys.modules), file=sys.stderr)
"""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    target = tmp_path / "session"
    assert main(["-q", "demo", "-o", str(target)]) == 0
    return target


def report(session: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["report", str(session), *words]) == 0
    return capsys.readouterr().out


def test_the_second_is_the_first_one(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = report(session, capsys=capsys)
    document = report(session, "--json", capsys=capsys)
    assert (session / "reports.txt").stat().st_mode & 0o777 == 0o600
    assert report(session, capsys=capsys) == first
    assert report(session, "--json", capsys=capsys) == document
    assert json.loads(document)["handovers"]


def test_a_kept_one_needs_no_decoder(session: Path) -> None:
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, "report", str(session)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        said.append((done.stdout, done.stderr.split()))
    assert said[0][0] == said[1][0]
    assert said[0][1] == ["numpy", "pyarrow", "tracekit.recording"]
    assert said[1][1] == []


def test_another_width_is_another_text(
    session: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = report(session, capsys=capsys)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = report(session, capsys=capsys)
    assert narrow != wide
    monkeypatch.delenv("FORCE_COLOR")
    assert report(session, capsys=capsys) == wide


@pytest.mark.parametrize("change", ["file", "kept", "moved"])
def test_what_has_changed_is_made_again(
    session: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = report(session, capsys=capsys)
    if change == "file":
        kernel = session / "boots" / "1" / "kernel.json"
        kernel.write_text(kernel.read_text().replace("7.3.4", "7.3.5"))
        assert "7.3.5" in report(session, capsys=capsys)
    elif change == "kept":
        kept = session / "reports.txt"
        kept.write_text(kept.read_text().replace("blackout", "brightness"))
        assert report(session, capsys=capsys) == first
    else:
        moved = session.with_name("moved")
        session.rename(moved)
        assert report(moved, capsys=capsys) == first


def test_nothing_is_kept_of_a_session_that_is_not_whole(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (session / "boots" / "0" / "kernel.json.part").write_text("{")
    assert "did not finish" in " ".join(report(session, capsys=capsys).split())
    assert not (session / "reports.txt").exists()


def test_an_archive_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / TARGET.name
    archive.write_bytes(TARGET.read_bytes())
    report(archive, capsys=capsys)
    assert [p.name for p in tmp_path.iterdir()] == [archive.name]


@pytest.mark.parametrize(
    "words",
    [
        ["events", "--to", "jump"],
        ["events", "--format", "json", "--event", "sched:*"],
        ["events", "--format", "kernel", "--boot", "1"],
        ["export", "--format", "csv", "-o", "-"],
        ["export", "--format", "csv", "-o", "-", "--grep", "kexec"],
        ["export", "--format", "csv", "-o", "-", "--redact"],
        ["stats", "--phase", "device shutdown"],
        ["stats", "--to", "jump", "--by", "task"],
    ],
)
def test_what_an_index_has_is_not_decoded_again(
    session: Path, words: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run() -> str:
        capsys.readouterr()
        assert main([words[0], str(session), *words[1:]]) in (None, 0)
        return capsys.readouterr().out

    first = run()
    assert first.count("\n") > 5
    assert open_recording(session, lambda what, share: None, many=0).maps
    decoded: list[int] = []
    real = events.merge
    monkeypatch.setattr(events, "merge", lambda *a, **k: decoded.append(1) or real(*a, **k))
    monkeypatch.setitem(open_events.__kwdefaults__, "many", 0)
    assert run() == first
    assert bool(decoded) == ("kernel" in words or "--redact" in words)
