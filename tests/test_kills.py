"""A command that is killed loses nothing, and running it again gives what it would have given.

Recover has tests of its own (tests/capture/recover/test_kill.py), at every one of its steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[1]
KILLS = 6  # of each command


def test_killed_at_random_moments(
    capture: Callable[[str], Path], session: Callable[[str], Path], tmp_path: Path
) -> None:
    name = "handover-7.2-tsc"
    program = [sys.executable, "-m", "tests.support.sessions.random_kills"]
    command = [*program, capture(name) / "old", session(name), tmp_path, str(KILLS), "1"]
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, check=True)
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(k["job"] for k in kills) == dict.fromkeys(
        ("snapshot", "csv", "parquet", "index"), KILLS
    )
    for kill in kills:
        assert kill["same"], kill
        assert kill["left"] == [], kill
