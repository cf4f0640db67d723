"""``tracekit compare`` and ``tracekit check`` as they are run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from tracekit.cli import main


@pytest.fixture
def demo() -> Iterator[Path]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        yield path


def test_compare_ends_in_a_sentence(
    demo: Path, session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = session("handover-7.2-to-7.3-tsc")
    assert main(["compare", str(demo), str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("+2.217 s") or lines[-2].startswith("+2.217 s")
    dark = next(line for line in lines if line.startswith("  dark"))
    assert dark.split()[1:3] == ["2.002", "s"] and "more" in dark and "█" in dark
    assert main(["compare", str(demo), str(other), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 2 and document["a"]["kernel"] == "7.3.4"
    assert {d["kind"] for d in document["differences"]} == {"total", "phase", "device", "initcall"}


def test_compare_a_run_with_itself_differs_nowhere(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(demo), str(demo), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {d["judged"] for d in document["differences"]} == {"within error", "unknown"} or {
        d["judged"] for d in document["differences"]
    } == {"within error"}


def test_compare_sets(
    demo: Path, session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1", "2"):
        shutil.copy(demo, tmp_path / f"{name}.tar.zst")
    (tmp_path / "bad.tar.zst").write_bytes(b"no session")
    other = session("handover-7.2-tsc")
    assert main(["compare", str(tmp_path), "--with", str(other)]) == 0
    said = capsys.readouterr()
    assert "A  2 handovers; kernel 7.3.4" in said.out
    assert "left out" in said.err and "bad.tar.zst" in said.err
    assert main(["compare", str(tmp_path), str(other), "--by", "kernel", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (made["a"]["name"], made["b"]["name"]) == ("7.2.13", "7.3.4")
    assert main(["compare", str(tmp_path), "--by", "clock"]) == 2
    assert main(["compare", str(demo)]) == 2


def test_one_boot_is_no_handover(
    session: Callable[[str], Path], demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(demo), str(session("same-boot-7.2"))]) == 4
    assert "one boot only" in capsys.readouterr().err


def test_check(
    demo: Path, session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    budget, report = tmp_path / "budget.toml", tmp_path / "report.xml"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    words = ["check", str(demo), "--budget", str(budget)]
    assert main(words) == 3
    assert main([*words, "--update"]) == 0
    assert main([*words, "--junit", str(report)]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "is held" in said.err
    assert 'failures="0"' in report.read_text()
    other = ["check", str(session("handover-7.2-to-7.3-tsc")), *words[2:]]
    assert main(other) == 1
    lines = capsys.readouterr().out.splitlines()
    line = next(
        i for i, t in enumerate(budget.read_text().splitlines(), 1) if t.startswith('"dark"')
    )
    assert any(f"OVER     {budget}:{line}: baseline phase dark: 3.381 s" in text for text in lines)
    assert any(text.startswith("::error file=") and "phase dark" in text for text in lines)
    assert main([*other, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["held"] is False


def test_show_needs_a_terminal(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(demo), str(demo)]) == 2
    assert "tracekit compare" in capsys.readouterr().err
    assert main(["show", str(demo), str(demo), "--view", "events"]) == 2
    assert main(["fleet", "show", "nowhere"]) == 2
