"""Every byte that the commands print and write of the recorded handovers is as it was.

``outputs.json`` has the digests; a change that is meant to change an output writes them anew with
``TRACEKIT_OUTPUTS=write``, and says so in its commit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from tests.support.outputs import digests

GOLDEN = Path(__file__).with_name("outputs.json")
DEMO = "handover.tar.zst"
SLOW = ("handover-7.2-to-7.3-tsc", "handover-7.2-tsc", "same-boot-7.2", "same-boot-wide-7.2")
CAPTURES = (DEMO, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_outputs_are_as_they_were(name: str, session: Callable[[str], Path]) -> None:
    if name == DEMO:
        with as_file(files("tracekit") / "demo" / DEMO) as path:
            now = digests(path)
    else:
        now = digests(session(name))
    if os.environ.get("TRACEKIT_OUTPUTS") == "write":
        known = json.loads(GOLDEN.read_text())
        GOLDEN.write_text(json.dumps({**known, name: now}, indent=1, sort_keys=True) + "\n")
    assert now == json.loads(GOLDEN.read_text())[name]
