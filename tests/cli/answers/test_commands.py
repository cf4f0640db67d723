"""``tracekit blame`` and ``tracekit critical-chain`` as they are printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from tracekit.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        assert main([words[0], str(path), *words[1:]]) == 0
    return capsys.readouterr().out


def test_blame_is_a_line_a_thing(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "blame").splitlines()
    assert lines[0].split() == [
        "148", "ms", "±", "1.26", "µs", "acpi_init", "initcall", "boot", "1", "initcalls:", "subsys"
    ]  # fmt: skip
    assert len(lines) == len(json.loads(run(capsys, "blame", "--json"))["blame"])


def test_blame_of_some(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "blame", "--kind", "device", "--boot", "0", "--json"))["blame"]
    assert {one["kind"] for one in found} == {"device"} and len(found) == 24
    assert run(capsys, "blame", "--boot", "7") == ""


def test_the_chain_reads_back_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "critical-chain")
    spine = [line.strip() for line in out.splitlines() if "└─" in line]
    assert spine[0].startswith("└─first user process")
    assert spine[-1].startswith("└─reboot call")
    assert "668 ms with evidence" in out
    assert "? dark: until the new kernel runs" in out
    assert "no sched:sched_waking" in out


def test_every_link_is_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    (chain,) = json.loads(run(capsys, "critical-chain", "--json"))["chains"]
    assert chain["blackout_ns"] == 3099451986
    assert chain["known_ns"] + chain["unknown_ns"] == chain["blackout_ns"]
    assert chain["links"][0]["evidence"][0]["event"] == "syscalls:sys_enter_reboot"


def test_back_from_the_last_event_that_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "critical-chain", "--event", "kexec:reboot", "--from", "-2s")
    assert "python3-76 kexec:reboot cmd=0x45584543 @-6.82ms; 1.739 s with evidence" in out
    assert "└─python3-76 up to this event @-1.959s +1.952s" in out
    (chain,) = json.loads(
        run(capsys, "critical-chain", "--where", "event = kexec:reboot", "--json")
    )["chains"]
    assert chain["end"]["event"] == "kexec:reboot" and chain["blackout_ns"] is None
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        assert main(["critical-chain", str(path), "--event", "nothing:such"]) == 2
    assert "no event meets these conditions" in capsys.readouterr().err


def test_one_boot_has_no_chain(
    session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["critical-chain", str(session("same-boot-7.2"))]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "no jump in this session" in said.err
