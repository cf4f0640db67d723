"""What the documents say is true: their examples run, their files and commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracekit.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(example, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    assert "blackout 3.099 s, gap 2.002 s" in out
    assert "dark" in out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    commands = set(re.findall(r"^\s*tracekit ([\w-]+)", text, re.M))
    assert commands >= {
        "show",
        "doctor",
        "handover",
        "recover",
        "report",
        "events",
        "export",
        "lab",
    }
    with cli.make_context("tracekit", ["--help"], resilient_parsing=True) as ctx:
        assert commands <= set(cli.list_commands(ctx))
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", text, re.M):
        assert f"\n{target}:" in makefile


def test_the_filters_of_the_page_are_filters() -> None:
    """Every example reads, and finds something in the handover that ships or is true of none."""
    from importlib.resources import as_file, files

    import tracekit
    from tracekit.timeline.filter import Filter

    text = (ROOT / "docs" / "show.md").read_text()
    (examples,) = re.findall(r"```\n(event .*?)```", text, re.S)
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        recording = tracekit.open(shipped)
        found = {e: len(recording.select(Filter(where=e))) for e in examples.splitlines()}
    assert all(count < len(recording) for count in found.values())
    assert sum(count > 0 for count in found.values()) >= 3, found


def test_the_map_leads_to_files_that_are_there() -> None:
    """Below the checkout or the package; a bare name is of the folder named before it."""
    rows = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    missing = []
    for row in rows:
        folder = ROOT
        for path in re.findall(r"`([\w/.]+(?:/|\.py|\.c))(?::[\w.()]+)?`", row):
            places = [base / path for base in (ROOT, ROOT / "tracekit", folder)]
            there = next((place for place in places if place.exists()), None)
            if there is None:
                missing.append(path)
            else:
                folder = there if there.is_dir() else there.parent
    assert missing == []
