"""What the report says of probes that were not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sessions.live import WAY_OUT, report_of, way_out
from tracekit.cli import main


def test_missing_probes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probes = {
        "version": 1, "mode": "kprobes", "reason": "--no-bpf", "lost": 0,
        "probes": [{"event": "kexec:reboot", "function": "__x64_sys_reboot"}],
        "missing": [{"event": "ring_buffer:counters", "functions": [], "reason": "BPF only"}],
    }  # fmt: skip
    report = report_of(tmp_path, way_out(), bpf_json=probes)
    (said,) = report.probes
    assert (said.mode, said.loaded, said.missing[0].event) == ("kprobes", 1, "ring_buffer:counters")
    assert main(["report", str(tmp_path / "s")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "kprobe events instead of BPF (--no-bpf), 1 attached; not recorded: ring_buf" in out


@pytest.mark.parametrize(
    "document", [[], {"probes": 7, "missing": [1, {"event": []}], "lost": "x"}, {"mode": None}]
)
def test_absurd_descriptions_of_probes(document: object, tmp_path: Path) -> None:
    assert report_of(tmp_path, way_out(), bpf_json=document).boots[0].events == len(WAY_OUT)


@pytest.mark.parametrize("text", ["[/x]", "\x1b[2J\a", "\ud800"])
def test_texts_of_descriptions_cannot_steer_or_stop_the_terminal(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [{"event": text, "functions": [text], "reason": text}]
    report_of(tmp_path, way_out(), bpf_json={"mode": text, "reason": text, "missing": missing})
    assert main(["report", str(tmp_path / "s")]) == 0
    assert not set(capsys.readouterr().out) & {"\x1b", "\a", "\ud800"}
    assert main(["report", str(tmp_path / "s"), "--json"]) == 0


def test_a_full_bpf_ring_is_remarked_on(tmp_path: Path) -> None:
    report = report_of(tmp_path, way_out(), bpf_json={"mode": "bpf", "lost": 12})
    (note,) = [d for d in report.diagnostics if d.code == "bpf-ring-full"]
    assert note.message.startswith("12 records")
    assert not report.complete
