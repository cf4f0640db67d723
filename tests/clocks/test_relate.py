"""Clocks beside a boot's own: markers, buffers on other clocks, chains of boots."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import (
    BootFiles,
    executed,
    mark,
    packed,
    pages,
    record,
    region,
    ring,
    write_session,
)
from tests.support.clock_sim import Kernel, clock_input
from tracekit.cli import main
from tracekit.clocks.evidence import BootClockInput, BootClocks
from tracekit.clocks.fit import Bracket
from tracekit.clocks.relate import relate

SECOND = 2_445_429_000  # cycles
OLD, NEW = 5 * SECOND, 100 * SECOND  # counts at which the kernels' clocks began


def markers(kernel: Kernel, counts: list[int], name: str = "tracekit-clock") -> tuple[list, list]:  # type: ignore[type-arg]
    """(events that were written at these counts, entries of clocks.json)."""
    events = [(kernel.sched(c), mark(f"{name} {n}")) for n, c in enumerate(counts)]
    entries = [
        {"text": f"{name} {n}", "tsc_before": c - 9_000, "tsc_after": c + 15_000}
        for n, c in enumerate(counts)
    ]
    return events, entries


def local_boot(kernel: Kernel, start: int, *, marked: bool = True) -> BootFiles:
    """A boot recorded on ``local`` from ``start`` on, for 20 seconds, markers in the middle."""
    events, entries = markers(kernel, [start + (8 + n) * SECOND for n in range(5)])
    events += [(kernel.sched(start + n * SECOND), mark(f"n {n}")) for n in range(21)]
    samples = kernel.samples(start + 9 * SECOND, [20_000] * 30)
    return BootFiles(
        region(events), json={"clocks.json": {"samples": samples, "markers": marked and entries}}
    )


def test_markers_relate_local_to_the_tsc(tmp_path: Path) -> None:
    old, new = Kernel(OLD), Kernel(NEW)
    boots = [local_boot(old, OLD + 20 * SECOND), local_boot(new, NEW + 5 * SECOND)]
    report = tracekit.open(write_session(tmp_path / "s", boots)).report()
    (jump,) = report.handovers
    true = Fraction(NEW + 5 * SECOND - (OLD + 40 * SECOND)) * 10**6 / 2_445_429
    assert report.common_clock
    assert jump.gap_ns is not None and jump.gap_error_ns is not None
    assert abs(jump.gap_ns - true) <= jump.gap_error_ns
    assert jump.gap_error_ns < 3_000_000


def test_without_markers_local_is_not_related(tmp_path: Path) -> None:
    boots = [
        local_boot(Kernel(OLD), OLD + 20 * SECOND, marked=False),
        local_boot(Kernel(NEW), NEW + 5 * SECOND, marked=False),
    ]
    report = tracekit.open(write_session(tmp_path / "s", boots)).report()
    assert not report.common_clock
    assert report.handovers[0].gap_error_ns is None


@pytest.mark.parametrize("how", ["written twice", "named twice", "never written", "nonsense"])
def test_a_marker_that_is_not_one_gives_nothing(how: str, tmp_path: Path) -> None:
    kernel = Kernel(OLD)
    boot = local_boot(kernel, OLD + 20 * SECOND, marked=False)
    events, entries = markers(kernel, [OLD + 30 * SECOND])
    if how == "written twice":
        events += [(events[0][0] + 1000, events[0][1])]
    elif how == "named twice":
        entries += [{**entries[0], "tsc_before": 0}]
    elif how == "never written":
        events = [(events[0][0], mark("something else"))]
    else:
        entries = [{"text": [], "tsc_before": "x"}, 7, None]
    boot.region = region(events)
    clocks = boot.json["clocks.json"]
    assert isinstance(clocks, dict)
    clocks["markers"] = entries
    recording = tracekit.open(write_session(tmp_path / "s", [boot]))
    assert len(recording) == len(events)
    given = recording.axis.sources[0].given
    assert not [s for s in given.clocks.samples if isinstance(s, dict) and s["clock"] == "local"]


def middle_boot(kernel: Kernel, start: int, *, region_clock: str) -> BootFiles:
    """A boot in the middle of a chain: boot-time events in the global buffer, then a region."""
    early = [start + n * SECOND for n in range(3)]
    late = [start + (10 + n) * SECOND for n in range(11)]
    count = {"x86-tsc": lambda c: c, "local": kernel.sched}
    other = {"x86-tsc": "local", "local": "x86-tsc"}[region_clock]
    in_pipe = [(count[other](c), executed("/sbin/init", 1)) for c in early]
    in_region = [(count[region_clock](c), mark(f"late {n}")) for n, c in enumerate(late)]
    events, entries = markers(kernel, [start + (4 + n) * SECOND for n in range(5)])
    if region_clock == "local":
        in_region += events
    else:
        in_pipe += events
    clock_id = 9 if region_clock == "x86-tsc" else 0
    samples = kernel.samples(start + 4 * SECOND, [20_000] * 30)
    return BootFiles(
        region(in_region, clock_id=clock_id), pages(ring(in_pipe)), other,
        json={"clocks.json": {"samples": samples, "markers": entries}},
    )  # fmt: skip


def tsc_boot(kernel: Kernel, start: int) -> BootFiles:
    events = [(start + n * SECOND, executed(f"/bin/{n}", 1)) for n in range(5)]
    samples = kernel.samples(start, [20_000] * 30)
    return BootFiles(
        region(events, clock_id=9), clock="x86-tsc", json={"clocks.json": {"samples": samples}}
    )


def chain(where: Path, region_clock: str) -> Path:
    starts = (OLD + 5 * SECOND, NEW + 5 * SECOND, NEW + 60 * SECOND)
    return write_session(
        where,
        [
            tsc_boot(Kernel(OLD), starts[0]),
            middle_boot(Kernel(NEW), starts[1], region_clock=region_clock),
            tsc_boot(Kernel(NEW + 58 * SECOND), starts[2]),
        ],
    )


@pytest.mark.parametrize("region_clock", ["x86-tsc", "local"])
def test_a_boot_whose_buffers_count_on_two_clocks(region_clock: str, tmp_path: Path) -> None:
    recording = tracekit.open(chain(tmp_path / "s", region_clock))
    frame = recording.table().to_pandas()
    middle = frame[frame["boot"] == 1]
    assert len(middle) == 3 + 5 + 11
    report = recording.report()
    codes = [d.code for d in report.diagnostics]
    assert "buffer-related" in codes
    assert "buffer-on-other-clock" not in codes
    assert report.boots[1].clock == "x86-tsc"
    # the last event of boot 1 is the last jump; true distances are whole seconds
    (relation,) = recording.axis.relations.values()
    allowed = relation.error_ns + 30_000  # the samples' own rate
    late = middle[middle["args"].str.contains("late")]["ts_ns"].to_list()
    early = middle[middle["event"] == "sched:sched_process_exec"]["ts_ns"].to_list()
    assert [abs(ts + (10 - n) * 10**9) <= allowed for n, ts in enumerate(late)] == [True] * 11
    assert [abs(ts + (20 - n) * 10**9) <= allowed for n, ts in enumerate(early)] == [True] * 3
    assert relation.error_ns < 2_000_000
    # what is stamped by another clock keeps its own stamp
    raw = set(middle["ts_raw"].to_list())
    assert {Kernel(NEW).sched(NEW + (5 + (10 if region_clock == "local" else 0)) * SECOND)} <= raw


def test_gaps_of_a_chain_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = chain(tmp_path / "s", "local")
    report = tracekit.open(path).report()
    first, second = report.handovers
    assert (first.old, first.new, second.old, second.new) == (0, 1, 1, 2)
    true = Fraction(NEW + 5 * SECOND - (OLD + 9 * SECOND)) * 10**6 / 2_445_429
    assert first.gap_ns is not None and first.gap_error_ns is not None
    assert abs(first.gap_ns - true) <= first.gap_error_ns
    true = Fraction(35 * SECOND) * 10**6 / 2_445_429
    assert second.gap_ns is not None and second.gap_error_ns is not None
    assert abs(second.gap_ns - true) <= second.gap_error_ns
    assert second.jump_ns == 0
    assert {p.handover for p in report.phases} == {0, 1}
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    for which in ("Boot 0 → 1", "Boot 1 → 2"):  # none of them recorded machine_kexec
        assert f"{which}: where the time went (0 is the old kernel's last recorded event)" in out
    assert out.count("Linux 7.") == 2


def test_a_buffer_that_nothing_relates_is_still_left_out(tmp_path: Path) -> None:
    boot = middle_boot(Kernel(NEW), NEW + 5 * SECOND, region_clock="local")
    boot.json = {}
    recording = tracekit.open(write_session(tmp_path / "s", [boot]))
    assert "buffer-on-other-clock" in [d.code for d in recording.report().diagnostics]
    assert len(recording) == 16
    assert recording.report().boots[0].clock == "local"


def test_readings_of_the_monotonic_clock_are_placed(tmp_path: Path) -> None:
    kernel = Kernel(OLD)
    recording = tracekit.open(write_session(tmp_path / "s", [tsc_boot(kernel, OLD + 5 * SECOND)]))
    count = OLD + 7 * SECOND
    placed = recording.axis.monotonic(0, [kernel.mono(count)])
    assert placed is not None
    (ns,), error = placed
    assert abs(ns + 2 * 10**9) <= error + 1_000
    assert error < 100_000
    assert recording.axis.monotonic(0, []) is None
    assert recording.axis.monotonic(7, [1]) is None


def test_records_of_the_probes_in_a_boot_on_the_tsc(tmp_path: Path) -> None:
    kernel = Kernel(OLD)
    boot = tsc_boot(kernel, OLD + 5 * SECOND)
    counts = [OLD + 6 * SECOND + n * 10**7 for n in range(20)]
    records = [record("kexec:machine_kexec", n, kernel.mono(c)) for n, c in enumerate(counts)]
    boot.files["bpf.bin"] = b"".join(map(packed, records))
    recording = tracekit.open(write_session(tmp_path / "s", [boot]))
    table = recording.event("kexec:machine_kexec").to_pylist()
    (relation,) = recording.axis.relations.values()
    for row, count in zip(table, counts, strict=True):
        true = Fraction(count - OLD - 9 * SECOND) * 10**6 / 2_445_429
        assert abs(row["ts_ns"] - true) <= relation.error_ns + 1_000
    assert relation.error_ns < 100_000


def test_pairs_alone_relate_two_clocks_in_ns() -> None:
    given = clock_input(0, "local")
    pairs = [Bracket(n * 10**6, 10**12 + n * 10**6 + 2_000, n * 10**6 + 5_000) for n in range(50)]
    found = relate(given, "mono", (10**12, 10**12 + 5 * 10**7), None, pairs)
    assert found is not None
    assert found.values[0] == pytest.approx(500, abs=3_000)
    assert found.error_ns <= 5_000
    assert relate(given, "mono", (0, 1), None) is None
    assert relate(given, "x86-tsc", (0, 1), None, pairs) is None


def test_pairs_that_contradict_each_other_relate_nothing() -> None:
    pairs = [Bracket(0, 10**9, 10), Bracket(10**12, 10**9 + 5, 10**12 + 1)]
    assert relate(clock_input(0, "local"), "mono", (0, 10**10), None, pairs) is None


def test_clocks_between_which_an_offset_alone_is() -> None:
    """printk's clock, and the trace clocks that are the same, are so far ahead of ``local``."""
    clocks = BootClocks(0, printk_offset_ns=-38_000_000)
    local, of_global = BootClockInput(clocks, "local"), BootClockInput(clocks, "global")
    found = relate(local, "global", (10**9, 2 * 10**9), None)
    assert found is not None
    assert (found.values, found.error_ns) == ((1_038_000_000, 2_038_000_000), 1)
    found = relate(of_global, "local", (10**9, 2 * 10**9), None)
    assert found is not None and found.values == (962_000_000, 1_962_000_000)
    found = relate(of_global, "perf", (5, 6), None)
    assert found is not None and found.values == (5, 6)
    assert relate(local, "mono", (0, 1), None) is None
    assert relate(BootClockInput(BootClocks(0), "local"), "global", (0, 1), None) is None
