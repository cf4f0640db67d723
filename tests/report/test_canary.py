"""The canary in the report: intact, changed, not looked at, damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.sessions.live import MS, PCI, START, a_device, report_of, way_out
from tracekit.cli import main
from tracekit.report.make import Report
from tracekit.session.canary import PAGE, Canary, Change, Findings, Physical

SEED = "00" * 32


def canary(findings: Findings | None) -> dict[str, Any]:
    one = Canary(SEED, 64 << 20, "luo", (Physical(0, 0x1000, 64 << 20),), findings)
    return dict(json.loads(one.encode()))


def report(where: Path, document: dict[str, Any], *, master: int = 1) -> Report:
    device = a_device(0, START + 10 * MS, 2 * MS, "0000:00:02.0", PCI, master, driver="e1000e")
    return report_of(where, [*way_out(), *device], canary_json=document)


def test_no_stray_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = report(tmp_path, canary(Findings("id"))).canaries
    assert (found.boot, found.state, found.changed, found.changes) == (0, "intact", 0, ())
    assert found.bus_masters == ("0000:00:02.0 (e1000e)",)
    assert main(["report", str(tmp_path / "s")]) == 0
    assert "boot 0: no stray write in 64 MiB in a memfd of LUO" in capsys.readouterr().out
    assert main(["report", "--json", str(tmp_path / "s")]) == 0
    assert json.loads(capsys.readouterr().out)["canaries"][0]["state"] == "intact"


def test_changes_and_who_may_have_made_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (
        Change(8, 0x1008, 4, "41424300", "00000000"),
        Change(PAGE, None, PAGE, "1b5b" * 32, "00" * 64, 3 * PAGE),
    )
    (found,) = report(tmp_path, canary(Findings("id", 4 + PAGE, 2, changes))).canaries
    assert (found.state, found.changed, found.places) == ("changed", 4 + PAGE, 2)
    assert main(["report", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "boot 0: 4,100 bytes in 2 places of 64 MiB in a memfd of LUO changed" in out
    assert "0x1008-0x100b (offset 0x8 of the canary): 4 bytes, now 41 42 43 00 |ABC.|" in out
    assert "physical address unknown" in out and "page at offset 0x3000" in out
    assert "still bus masters after their shutdown: 0000:00:02.0 (e1000e)" in out


def test_not_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = Findings("id", problem="it did not\x1b[2J come")
    (found,) = report(tmp_path, canary(problem)).canaries
    assert found.state == "not looked at"
    assert main(["report", str(tmp_path / "s")]) == 0
    assert "not looked at: it did not\\x1b[2J come" in capsys.readouterr().out


def test_nobody_has_recovered(tmp_path: Path) -> None:
    (found,) = report(tmp_path, canary(None)).canaries
    assert (found.state, found.problem) == (
        "not looked at",
        "'tracekit recover' has not looked at it",
    )


def test_a_damaged_file_is_remarked_on(tmp_path: Path) -> None:
    damaged = report(tmp_path, {"size": -1})
    assert damaged.canaries == ()
    assert [d.where for d in damaged.diagnostics if d.code == "canary-unreadable"] == [
        "boot 0 canary.json"
    ]
