"""One list of what took how long."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import BootFiles, region, write_session
from tests.support.sessions.handovers import opened
from tests.support.sessions.live import KALLSYMS, MS, PCI, START, a_device, way_out
from tracekit.report.critical.blame import Blamed, blame


def of_the_demo() -> tuple[Blamed, ...]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        recording = tracekit.open(path)
        return blame(recording, recording.report())


def test_the_demo_has_everything_slowest_first() -> None:
    found = of_the_demo()
    kinds = {one.kind for one in found}
    assert kinds == {"device", "initcall", "notifier", "LUO step", "KHO step"}
    took = [one.duration_ns or 0 for one in found]
    assert took == sorted(took, reverse=True)
    assert (found[0].name, found[0].phase, found[0].boot) == ("acpi_init", "initcalls: subsys", 1)
    assert sum(one.kind == "device" for one in found) == 24
    assert sum(one.kind == "initcall" for one in found) == 451


def test_a_notifier_ends_at_the_latest_where_the_next_begins() -> None:
    notifiers = {one.name: one for one in of_the_demo() if one.kind == "notifier"}
    assert set(notifiers) == {"tts_notify_reboot", "perf_reboot"}
    assert all(one.at_most for one in notifiers.values())
    first = notifiers["tts_notify_reboot"]
    assert first.start_ns is not None and first.duration_ns is not None
    assert first.start_ns + first.duration_ns == notifiers["perf_reboot"].start_ns


def test_the_error_is_that_of_the_clock(session: Callable[[str], Path]) -> None:
    recording = opened(session("handover-7.2-tsc"))
    model = recording.axis.clocks[1]
    slowest = blame(recording, recording.report())[0]
    assert slowest.duration_ns is not None
    units = int(slowest.duration_ns / model.ns_per_unit)
    assert slowest.error_ns == model.duration_error(units) and slowest.error_ns > 0


def test_what_never_returned_comes_first(tmp_path: Path) -> None:
    events = [*way_out(), *a_device(0, START + 10 * MS, 30 * MS, "slow", PCI),
              *a_device(4, START + 50 * MS, -1, "stuck", PCI)]  # fmt: skip
    boot = BootFiles(region(sorted(events)), files={"kallsyms": KALLSYMS})
    recording = tracekit.open(write_session(tmp_path / "s", [boot]))
    found = [one for one in blame(recording, recording.report()) if one.kind == "device"]
    assert [(one.name, one.finished, one.duration_ns) for one in found] == [
        ("stuck", False, None), ("slow", True, 30 * MS),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["stock-6.12-panic-tsc", "same-boot-7.2"])
def test_sessions_without_a_handover(name: str, session: Callable[[str], Path]) -> None:
    recording = opened(session(name))
    assert all(one.duration_ns is not None for one in blame(recording, recording.report()))
