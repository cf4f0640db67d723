"""Every command of docs/questions.md runs, on a session that has something to answer or not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from tests.support.sessions.made_events import at, graph, made, switch
from tracekit.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "questions.md"
ROWS = [line.split("|") for line in PAGE.read_text().replace("\\|", "§").splitlines()
        if line.startswith("| ") and "tracekit" in line]  # fmt: skip
FOUND = [code for row in ROWS for code in re.findall(r"`(tracekit [^`]+)`", row[2])]
COMMANDS = sorted({code.split("§")[0].strip() for code in FOUND})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Path]]:
    """By whether the command is about a jump."""
    events = [switch(0, 0, 0, 7), graph(1, "leaf", 0), graph(2, "leaf", 0, 1),
              at(3, "irq/irq_handler_entry", 1), at(4, "irq/irq_handler_exit", 1)]  # fmt: skip
    path = made(tmp_path_factory.mktemp("questions") / "s", events)
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as demo:
        yield {True: demo, False: path}


def test_the_page_has_as_many_questions_as_it_should() -> None:
    assert len(ROWS) >= 15 and len(COMMANDS) >= 15
    assert all(row[1].strip().endswith("?") for row in ROWS)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs(
    command: str, session: dict[bool, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    of_a_jump = "--phase" in command or " report " in command
    words = shlex.split(command.replace("SESSION", str(session[of_a_jump])))
    assert main(words[1:]) == 0
    assert "Traceback" not in capsys.readouterr().err
