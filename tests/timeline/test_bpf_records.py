"""BPF records as events: printed ones, those of bpf.bin, both, and damaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracekit
from tests.support.bpf_records import (
    FORMATS,
    BootFiles,
    mark,
    packed,
    printed,
    printk,
    record,
    region,
    session,
    write_session,
)
from tests.support.session_trees import make_session
from tracekit.cli import main
from tracekit.export.kernel_text import kernel_blocks
from tracekit.probes.records import KINDS, RECORD, Record
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.saved.bpf_format import LAYOUT, probe_format, probe_ids

US = 1000
AHEAD = 5_000_000_000  # CLOCK_MONOTONIC is this much ahead of the trace clock
DELAY = 3 * US  # from a probe's reading of the clock to the event's own stamp

DEVICE = record(
    "device:shutdown", 5, AHEAD + 900 * US, returned=True, duration=40 * US, comm="kexec",
    values=[1], name="0000:00:03.0", driver="virtio-pci",
)  # fmt: skip


def raw(r: Record) -> int:
    return r.ns - AHEAD + DELAY


def steps(count: int = 40, cpu: int = 0, gap: int = 20 * US) -> list[Record]:
    """Records at even distances, the n-th with number n."""
    return [
        record("kexec:kernel_restart_prepare", n, AHEAD + (100 + n) * gap, cpu=cpu, comm="kexec")
        for n in range(count)
    ]


def codes(recording: Recording) -> set[str]:
    return {d.code for d in recording.report().diagnostics}


def test_the_layout_is_that_of_the_record() -> None:
    assert LAYOUT.itemsize == RECORD.size
    values = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, b"comm", b"name", b"driver")
    one = np.frombuffer(RECORD.pack(*values), LAYOUT)[0]
    assert tuple(one["value"].tolist()) == values[2:6]
    names = ["ns", "duration_ns", "seq", "pid", "cpu", "kind", "zero", "comm", "name", "driver"]
    assert [one[n] for n in names] == [*values[:2], *values[6:]]


def test_every_kind_has_a_format_whose_columns_differ() -> None:
    for event_id in probe_ids():
        fmt = probe_format(event_id)
        assert fmt is not None
        assert len({f.name for f in fmt.fields}) == len(fmt.fields)
        assert all(f.offset + f.size <= RECORD.size for f in fmt.fields)
    assert {i & 0x7FFF for i in probe_ids()} == set(KINDS)
    assert probe_format(0x8001) is None
    assert probe_format(1 << 16 | 0x7FFF) is None


def test_a_printed_record_is_a_typed_event(tmp_path: Path) -> None:
    made = region([(1000 * US, mark("before")), (raw(DEVICE), printed(DEVICE))])
    recording = tracekit.open(session(tmp_path, made))
    table = recording.timeline.to_pylist()
    assert [(r["event"], r["source"]) for r in table] == [
        ("device:shutdown_return", "bpf"), ("ftrace:print", "ftrace"),
    ]  # fmt: skip
    assert table[0]["ts_raw"] == raw(DEVICE)
    assert table[0]["args"].startswith("device=0000:00:03.0 driver=virtio-pci bus_master=1 ")
    assert table[0]["args"].endswith(" duration_ns=40000")
    (row,) = recording.event("device:shutdown_return").to_pylist()
    assert (row["device"], row["driver"], row["bus_master"]) == ("0000:00:03.0", "virtio-pci", 1)
    assert (row["duration_ns"], row["ns"], row["seq"], row["pid"]) == (40_000, DEVICE.ns, 5, 7)
    assert recording.fields(np.array([0]))[0]["driver"] == "virtio-pci"


def test_negative_values_are_negative(tmp_path: Path) -> None:
    one = DEVICE._replace(values=((-1) & (1 << 64) - 1, 0, 0, 0))
    recording = tracekit.open(session(tmp_path, region([(raw(one), printed(one))])))
    assert recording.event("device:shutdown_return")["bus_master"].to_pylist() == [-1]


def test_text_that_is_not_ours_stays(tmp_path: Path) -> None:
    texts = ["tk1 nonsense", "hello", "tk1 7fff 0 1 0 0 0 0 0 name|driver"]
    made = region([((n + 1) * US, printk(t)) for n, t in enumerate(texts)])
    recording = tracekit.open(session(tmp_path, made))
    assert recording.event_names == ["bpf_trace:bpf_trace_printk"]
    assert recording.timeline["args"].to_pylist() == texts
    assert recording.timeline["source"].to_pylist() == ["ftrace"] * 3


def test_a_record_that_came_both_ways_is_one(tmp_path: Path) -> None:
    every = steps()
    made = region([(raw(r), printed(r)) for r in every])
    path = session(tmp_path, made, file=b"".join(map(packed, every)))
    recording = tracekit.open(path)
    assert recording.event("kernel_restart_prepare")["seq"].to_pylist() == list(range(40))
    assert recording.timeline["ts_raw"].to_pylist() == [raw(r) for r in every]
    report = recording.report()
    assert (report.boots[0].events, report.boots[0].lost) == (40, 0)
    # only the file knows the task's name
    assert set(recording.timeline["comm"].to_pylist()) == {"kexec"}


def test_what_only_the_file_has_is_placed_by_the_pairs(tmp_path: Path) -> None:
    """The trace clock is local, and nothing else relates it to CLOCK_MONOTONIC."""
    every = steps(400)
    alone = every[50:350:10]
    made = region([(raw(r), printed(r)) for r in every if r not in alone])
    path = session(tmp_path, made, file=b"".join(map(packed, every)))
    recording = tracekit.open(path)
    table = recording.event("kernel_restart_prepare")
    assert table["seq"].to_pylist() == list(range(400))
    # the raw stamp of those is CLOCK_MONOTONIC itself
    stamps = dict(zip(table["seq"].to_pylist(), table["ts_raw"].to_pylist(), strict=True))
    assert all(stamps[r.seq] == r.ns for r in alone)
    (note,) = [d for d in recording.report().diagnostics if d.code == "bpf-placed"]
    (relation,) = recording.axis.relations.values()
    assert f"± {relation.error_ns} ns" in note.message
    # true place: the reading's own instant, DELAY before its stamp would have been
    origin = raw(every[-1])
    ts = dict(zip(table["seq"].to_pylist(), table["ts_ns"].to_pylist(), strict=True))
    for r in alone:
        assert abs(ts[r.seq] - (r.ns - AHEAD - origin)) <= relation.error_ns
    assert relation.error_ns < 20 * US
    assert recording.report().boots[0].events == 400


def test_cycles_are_related_by_the_samples(tmp_path: Path) -> None:
    rate = 2.5

    def tsc(ns: int) -> int:
        return round(7e9 + rate * ns)

    every = steps(60)
    alone = every[:30]
    samples = [
        {"clock": c, "tsc_before": tsc(ns) - 50, "ns": ns, "tsc_after": tsc(ns + 1) + 50}
        for ns in range(AHEAD - 2_000_000_000, AHEAD, 100_000_000)
        for c in ("mono", "mono_raw")
    ]
    made = region([(tsc(r.ns + DELAY), printed(r)) for r in every[30:]], clock_id=9)
    path = session(
        tmp_path, made, file=b"".join(map(packed, alone)), clocks={"samples": samples},
        files={"dmesg": "[    0.000000] tsc: Refined TSC clocksource calibration: 2500.000 MHz\n"},
    )  # fmt: skip
    recording = tracekit.open(path)
    table = recording.event("kernel_restart_prepare")
    assert table["seq"].to_pylist() == list(range(60))
    ts = table["ts_ns"].to_pylist()
    (relation,) = recording.axis.relations.values()
    assert relation.error_ns < 200
    for r in alone:
        expected = (tsc(r.ns) - tsc(every[-1].ns + DELAY)) / rate
        assert abs(ts[r.seq] - expected) <= relation.error_ns + 50
    error = recording.axis.interval(recording.rows, 0, len(recording) - 1)[1]
    assert error is not None
    assert error >= relation.error_ns


def test_unrelated_records_are_left_out_and_counted(tmp_path: Path) -> None:
    made = region([(1000 * US, mark("alone"))])
    path = session(tmp_path, made, file=packed(DEVICE))
    recording = tracekit.open(path)
    assert len(recording) == 1
    (note,) = [d for d in recording.report().diagnostics if d.code == "bpf-not-placed"]
    assert "1 records" in note.message
    assert not recording.report().complete


def test_a_file_without_any_trace_stands_on_its_own_clock(tmp_path: Path) -> None:
    path = session(tmp_path, region([]), file=packed(DEVICE))
    recording = tracekit.open(path)
    assert recording.timeline["ts_raw"].to_pylist() == [DEVICE.ns]
    assert recording.report().boots[0].clock == "mono"


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [([0, 1, 2], 0), ([0, 2, 5], 3), ([3, 4], 3), ([0, 1, 2, 0, 1, 3], 1), ([1, 0, 3, 2], 0)],
)
def test_holes_in_the_sequence_are_losses(
    numbers: Sequence[int], missing: int, tmp_path: Path
) -> None:
    every = [record("kexec:machine_kexec", n, AHEAD + i * US) for i, n in enumerate(numbers)]
    path = session(tmp_path, region([]), file=b"".join(map(packed, every)))
    report = tracekit.open(path).report()
    assert report.boots[0].lost == missing
    assert report.boots[0].events == len(numbers)
    assert ("bpf-records-lost" in codes(tracekit.open(path))) == bool(missing)


def test_counters_are_no_part_of_the_sequence(tmp_path: Path) -> None:
    every = [record("kexec:machine_kexec", n, AHEAD + n * US) for n in range(100)]
    every += [record("ring_buffer:counters", 0, AHEAD + n * US, pid=0) for n in (50, 99)]
    path = session(tmp_path, region([]), file=b"".join(map(packed, every)))
    report = tracekit.open(path).report()
    assert (report.boots[0].lost, report.boots[0].events) == (0, 102)


def test_a_damaged_file_keeps_what_is_sound(tmp_path: Path) -> None:
    bad_cpu = packed(DEVICE._replace(seq=1, cpu=40_000))
    bad_kind = packed(DEVICE._replace(seq=2, kind=0x7FFF))
    shifted = (b"\1" + packed(DEVICE._replace(seq=3)))[: RECORD.size]
    sound = packed(DEVICE._replace(seq=0))
    data = sound + bad_cpu + bad_kind + shifted + sound + sound[:100]
    recording = tracekit.open(session(tmp_path, region([]), file=data))
    assert recording.event("device:shutdown_return")["seq"].to_pylist() == [0]
    messages = {d.code: d.message for d in recording.report().diagnostics}
    assert "last 100 bytes" in messages["bpf-truncated"]
    assert "2 records" in messages["bpf-record-damaged"]
    assert f"byte {RECORD.size}" in messages["bpf-record-damaged"]
    assert "1 records" in messages["bpf-kind-unknown"]


def test_one_absurd_time_does_not_take_the_rest_along(tmp_path: Path) -> None:
    every = steps(30)
    made = region([(raw(r), printed(r)) for r in every])
    more = every[9]._replace(seq=30, ns=every[9].ns + 100)
    path = session(tmp_path, made, file=packed(more) + packed(more._replace(seq=31, ns=1 << 63)))
    recording = tracekit.open(path)
    assert len(recording) == 31
    assert "bpf-record-damaged" in codes(recording)


@pytest.mark.parametrize("size", [0, 1, 143, 145])
def test_a_cut_file(size: int, tmp_path: Path) -> None:
    data = (packed(DEVICE) * 2)[:size]
    recording = tracekit.open(session(tmp_path, region([]), file=data))
    assert len(recording) == size // RECORD.size
    assert ("bpf-truncated" in codes(recording)) == bool(size % RECORD.size)


def test_the_kernels_text_shows_what_the_kernel_would(tmp_path: Path) -> None:
    one = DEVICE._replace(comm="")
    made = region([(1000 * US, mark("x")), (2000 * US, printed(one))])
    path = session(tmp_path / "a", made, file=packed(one) + packed(one._replace(seq=6)))
    plain = make_session(tmp_path / "b", made, FORMATS)
    with_probes = b"".join(kernel_blocks(tracekit.open(path), Filter()))
    assert b"bpf_trace_printk: tk1 8020 5 " in with_probes
    assert with_probes == b"".join(kernel_blocks(tracekit.open(plain), Filter()))


def test_events_and_exports_name_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = session(tmp_path, region([(raw(DEVICE), printed(DEVICE)), (1, mark("x"))]))
    out = tmp_path / "events.csv"
    assert main(["-q", "export", str(path), "--format", "csv", "-o", str(out)]) == 0
    lines = out.read_text().splitlines()
    assert '"source"' in lines[0]
    assert '"bpf"' in lines[2]
    assert '"ftrace"' in lines[1]
    assert main(["events", str(path), "--event", "device:*", "--format", "json"]) == 0
    assert '"bus_master": 1' in capsys.readouterr().out


def test_known_events_that_never_happened_are_empty(tmp_path: Path) -> None:
    recording = tracekit.open(session(tmp_path, region([]), file=packed(DEVICE)))
    assert len(recording.event("kexec:machine_kexec")) == 0


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session whose bpf.bin is there to be replaced."""
    every = steps(30)
    made = region([(raw(r), printed(r)) for r in every])
    return session(tmp_path_factory.mktemp("any"), made, file=b"")


_FIELD = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(AHEAD, AHEAD + 10**9))
_RECORDS = st.lists(
    st.tuples(
        _FIELD, st.integers(0, 40), st.integers(0, (1 << 32) - 1), st.integers(0, 9000),
        st.sampled_from([*KINDS, *(k | 0x8000 for k in KINDS), 0, 0x7FFF]), st.binary(max_size=40),
    )
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(_RECORDS, st.binary(max_size=RECORD.size - 1))
def test_any_file_is_decoded_and_accounted_for(
    anything: Path, records: Sequence[tuple[int, int, int, int, int, bytes]], rest: bytes
) -> None:
    data = b"".join(
        RECORD.pack(ns, 1, 0, 2, 3, 4, seq, pid, cpu, kind, 0, b"c", name, name[:24])
        for ns, seq, pid, cpu, kind, name in records
    )
    (anything / "boots/0/bpf.bin").write_bytes(data + rest)
    recording = tracekit.open(anything)
    report = recording.report()
    # all of the printed ones; of the file those that are sound, each once
    known = {*KINDS, *(kind | 0x8000 for kind in KINDS)}
    sound = {
        (cpu, seq, ns)
        for ns, seq, pid, cpu, kind, _ in records
        if ns < 1 << 60 and pid < 1 << 31 and cpu < 8192 and kind in known
    }
    left_out = [d.message for d in report.diagnostics if d.code == "bpf-not-placed"]
    missing = int(left_out[0].split()[1]) if left_out else 0
    assert len(recording) + missing == 30 + len(sound - {(0, r.seq, r.ns) for r in steps(30)})
    assert recording.timeline["ts_ns"].to_pylist() == sorted(recording.axis.ts_ns.tolist())
    assert len(recording.fields(np.arange(len(recording)))) == len(recording)
    assert main(["-q", "report", str(anything)]) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60), max_size=20
    )
)
def test_any_printed_text_is_an_event(texts: Sequence[str]) -> None:
    lines = [t if n % 2 else f"tk1 8020 {n:x} 1 2 3 4 5 6 {t}|d" for n, t in enumerate(texts)]
    made = region([(n + 1, printk(line)) for n, line in enumerate(lines)])
    with TemporaryDirectory() as where:
        recording = tracekit.open(write_session(Path(where) / "s", [BootFiles(made)]))
        assert len(recording) == len(lines)
        assert len(recording.timeline["args"]) == len(lines)
        names = recording.timeline["event"].to_pylist()
    assert names.count("device:shutdown_return") >= len(lines[::2]) - sum("|" in t for t in texts)


def test_a_write_to_a_control_file_is_a_typed_event(tmp_path: Path) -> None:
    value = b"a text as long as there is room."
    words = [int.from_bytes(value[i : i + 8], "little") for i in range(0, 32, 8)]
    every = steps(400)
    write = record(
        "tracefs:write", 200, every[200].ns, values=words, name="sched_switch/enable",
        driver="tk", comm="kexec",
    )  # fmt: skip
    every[200] = write
    deltas = record(
        "ring_buffer:deltas", 0, write.ns + US, values=[20, -3, 5, 1], name="tk",
        driver="on 64K local",
    )  # fmt: skip
    made = region([(raw(r), printed(r)) for r in every])
    file = b"".join(map(packed, every)) + packed(deltas)
    recording = tracekit.open(session(tmp_path, made, file=file))
    (row,) = recording.event("tracefs:write").to_pylist()
    assert (row["file"], row["instance"], row["value"], row["comm"]) == (
        "sched_switch/enable", "tk", value.decode(), "kexec",
    )  # fmt: skip
    texts = {r["event"]: r["args"] for r in recording.timeline.to_pylist()}
    assert texts["tracefs:write"] == f"file=sched_switch/enable instance=tk value={value.decode()}"
    assert texts["ring_buffer:deltas"] == (
        "instance=tk state=on 64K local written=20 written_delta=-3 overrun=5 overrun_delta=1"
    )
    assert recording.report().boots[0].lost == 0  # what user space makes is not numbered
