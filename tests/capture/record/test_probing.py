"""The probes of a recording, without a kernel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import Live, old_machine
from tracekit.capture.record.instance import find_instance
from tracekit.capture.record.probes import Probing
from tracekit.remarks import Remarks

TRACEFS = "sys/kernel/tracing"


@pytest.mark.parametrize(
    ("earlier", "lost"),
    [
        (None, 0), (b'{"mode": "bpf", "lost": 7}', 7), (b"{torn", 0), (b"[]", 0),
        (b'{"lost": -3}', 0), (b'{"lost": true}', 0), (b"[" * 100_000, 0),
    ],
)  # fmt: skip
def test_what_an_earlier_recording_lost_is_not_forgotten(
    tmp_path: Path, earlier: bytes | None, lost: int
) -> None:
    """A second recording of the same boot describes its probes anew."""
    files = {f"{TRACEFS}/kprobe_events": b"", f"{TRACEFS}/available_filter_functions": b""}
    root = Live(replace(old_machine(), files=files).write(tmp_path))
    probing = Probing(root, find_instance(root), None, Remarks(), earlier)
    assert json.loads(probing.describe())["lost"] == lost
