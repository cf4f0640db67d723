"""Bad input: a diagnostic with a code, the rest still decoded, never a traceback."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.ring.event_payloads import FORMATS, function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_612
from tests.support.session_trees import codes, make_session, two_cpus
from tests.support.sessions.loose import loosen
from tracekit.cli import main
from tracekit.timeline.read_buffers import read_buffers


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return loosen(make_session(tmp_path, two_cpus()))


def test_the_undamaged_session_has_no_remarks(whole: Path) -> None:
    report = tracekit.open(whole).report()
    assert (report.boots[0].events, report.boots[0].unreadable) == (1000, 0)
    # the tree is small: no build id, no clock samples, no full kernel log
    known = {"clock-zero-unknown", "clocks-without-tsc", "file-absent"}
    assert not codes(report) - known, report.diagnostics


def test_an_old_layout_is_a_session_like_any_other(tmp_path: Path) -> None:
    rings = [RingBuffer(10) for _ in range(3)]
    for i in range(300):
        rings[i % 3].write(1_000_000 + i, function(TEXT_ADDR + 0x1004, TEXT_ADDR))
    session = make_session(tmp_path, layout_612(rings))
    table = tracekit.open(session).timeline
    assert len(table) == 300
    assert set(table["args"].to_pylist()) == {"some_function <-_text"}


def test_a_missing_format_leaves_the_other_events(whole: Path) -> None:
    shutil.rmtree(whole / "boots/0/tracefs/events/test/data_loc")
    recording = tracekit.open(whole)
    names = recording.timeline["event"].to_pylist()
    assert names.count("unknown:301") == 500
    assert names.count("ftrace:function") == 500
    args = {r["args"] for r in recording.timeline.to_pylist() if r["event"] == "unknown:301"}
    assert all(bytes.fromhex(a) for a in args)
    assert "session-file-missing" in codes(recording.report())


def test_no_formats_at_all(whole: Path) -> None:
    shutil.rmtree(whole / "boots/0/tracefs/events")
    report = tracekit.open(whole).report()
    assert report.boots[0].events == 1000
    assert "header-page-missing" in codes(report)
    assert main(["events", str(whole), "--format", "json"]) == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "format-invalid"),
        ("name: x\nID: 301\nformat:\n\tfield:int a;\toffset:9999999;\tsize:4;\n", "format-invalid"),
        (FORMATS["test:rel_loc"], "format-contradiction"),
    ],
)
def test_broken_and_contradictory_formats(whole: Path, text: str, code: str) -> None:
    (whole / "boots/0/tracefs/events/test/data_loc/format").write_text(text)
    recording = tracekit.open(whole)
    assert len(recording.timeline) == 1000
    assert {code, "session-file-changed"} <= codes(recording.report())


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("u64 timestamp;\toffset:0;", "u64 timestamp;\toffset:12;", "header-page-invalid"),
        ("local_t commit;\toffset:8;", "local_t commit;\toffset:14;", "header-page-invalid"),
        ("int common_pid;\toffset:4;", "int common_pid;\toffset:900;", "format-invalid"),
        ("int common_pid;\toffset:4;\tsize:4;", "int common_pid;\toffset:4;\tsize:1;", "format-"),
    ],
)
def test_impossible_headers_of_pages_and_records(
    whole: Path, old: str, new: str, code: str
) -> None:
    for path in (whole / "boots/0/tracefs/events").rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace(old, new))
    report = tracekit.open(whole).report()
    assert report.boots[0].events == 1000
    assert [c for c in codes(report) if c.startswith(code)]


def test_a_print_fmt_that_makes_no_sense_shows_the_fields(whole: Path) -> None:
    path = whole / "boots/0/tracefs/events/test/data_loc/format"
    head, _, _ = path.read_text().partition("print fmt:")
    path.write_text(f'{head}print fmt: "%d %s", ((((REC->number\n')
    args = tracekit.open(whole).event("test:data_loc"), tracekit.open(whole).timeline
    assert args[0]["text"][0].as_py() == "text"
    assert "number=0 text=text" in [a.strip() for a in args[1]["args"].to_pylist() if a]


@pytest.mark.parametrize("keep", [0, 10, 0x2030, 0x4000, 0x10000])
def test_a_truncated_region(tmp_path: Path, keep: int) -> None:
    session = make_session(tmp_path, two_cpus())
    raw = next((session / "boots/0/regions").glob("tkA.raw.*"))
    whole_region = tracekit.open(session).session.read("boots/0/regions/tkA.raw")
    raw.unlink()
    raw.with_suffix("").write_bytes(whole_region[:keep])
    report = tracekit.open(session).report()
    assert codes(report) & {"region-unusable", "region-size-mismatch"}


def test_flipped_bytes_anywhere(tmp_path: Path) -> None:
    """Every command over 60 regions with a few random bytes changed."""
    region = two_cpus().data
    rng = random.Random(7)
    session = make_session(tmp_path, region)
    raw = next((session / "boots/0/regions").glob("tkA.raw.*"))
    raw.unlink()
    for _ in range(60):
        damaged = bytearray(region)
        for _ in range(rng.choice([1, 3, 30, 1000])):
            at = rng.choice([rng.randrange(0x60), rng.randrange(len(damaged))])
            damaged[at] = rng.randrange(256)
        raw.with_suffix("").write_bytes(damaged)
        recording = tracekit.open(session)
        report = recording.report()
        assert sum(b.events for b in report.boots) == len(recording)
        assert len(recording.timeline) == len(recording)
        json.dumps(report.as_dict())


@pytest.mark.slow
def test_files_of_a_session_replaced_by_rubbish(
    session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of file in turn: an error with its exit code, or a report with a remark."""
    copy = tmp_path / "session"
    shutil.copytree(session("handover-7.2-tsc"), copy)
    loosen(copy)
    rng = random.Random(3)
    targets = ["manifest.json", "boots/0/kernel.json", "boots/1/kernel.json", "boots/0/clocks.json",
               "boots/0/kallsyms.shared.zst", "boots/0/dmesg", "boots/0/tracefs/saved_cmdlines",
               "boots/0/tracefs/printk_formats", "boots/0/tracefs/events/header_page",
               "boots/0/tracefs/kprobe_events", "boots/0/regions/tkA.raw.zst",
               "boots/1/tracefs/trace_clock"]  # fmt: skip
    for rel in targets:
        path = copy / rel
        before = path.read_bytes()
        half = before[: len(before) // 2]
        for rubbish in (b"", b"\0" * 64, rng.randbytes(4000), half, b"[]", b"{}"):
            path.write_bytes(rubbish)
            code = main(["report", str(copy), "--json"])
            out, err = capsys.readouterr()
            assert code in (0, 3, 4), rel
            assert "Traceback" not in err
            if code == 0:
                assert json.loads(out)["diagnostics"], (rel, rubbish[:10])
            else:
                assert rel.split("/")[-1].split(".")[0] in err
        path.write_bytes(before)


@pytest.mark.slow
def test_symbols_that_boots_share_replaced_by_rubbish(
    session: Callable[[str], Path], tmp_path: Path
) -> None:
    """Processes of their own: one keeps the symbols that it has read."""
    copy = tmp_path / "session"
    shutil.copytree(session("handover-7.2-tsc"), copy)
    loosen(copy)
    for path in copy.glob("symbols/*/*"):
        before = path.read_bytes()
        for rubbish in (b"", b"\0" * 64, before[: len(before) // 2], b"{}"):
            path.write_bytes(rubbish)
            done = subprocess.run(
                [sys.executable, "-m", "tracekit", "report", str(copy), "--json"],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            told = {d["code"] for d in json.loads(done.stdout)["diagnostics"]}
            assert told & {"file-unreadable", "session-file-changed"}, rubbish[:10]
            assert "Traceback" not in done.stderr
        path.write_bytes(before)


def test_a_session_from_a_newer_version(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    manifest["format_version"] += 9
    (whole / "manifest.json").write_text(json.dumps(manifest))
    assert main(["report", str(whole)]) == 4
    assert "newer" in capsys.readouterr().err


def test_a_page_of_ones_is_unreadable_not_empty(tmp_path: Path) -> None:
    region = two_cpus()
    page = region.places[0].subbufs + region.rings[0].reading_order()[1] * 4096
    data = bytearray(region.data)
    commit = int.from_bytes(data[page + 8 : page + 16], "little")
    data[page + 16 : page + 16 + commit] = b"\xff" * commit
    report = tracekit.open(make_session(tmp_path, bytes(data))).report()
    assert report.boots[0].unreadable == 1
    assert "page-stamp-alone" in codes(report)


def test_sub_buffers_of_8k_in_the_global_buffer(tmp_path: Path) -> None:
    ring = RingBuffer(20, 8192)
    for i in range(900):
        ring.write(1_000_000 + i, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    pages = b"".join(bytes(ring.page(at).memory) for at in range(1, 20))
    header = (
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
        "\tfield: char data;\toffset:16;\tsize:8176;\tsigned:0;\n"
    )
    session = make_session(tmp_path, two_cpus(), {"sys/kernel/tracing/events/header_page": header})
    pipe = session / "boots/0/tracefs/per_cpu/cpu0/trace_pipe_raw"
    pipe.parent.mkdir(parents=True)
    pipe.write_bytes(pages)
    (buffer,) = [b for b in read_buffers(tracekit.open(session).boots[0]) if b.layout is None]
    assert (len(buffer), buffer.diagnostics) == (900, ())


@pytest.mark.parametrize(
    ("rel", "text"),
    [
        ("tracefs/saved_cmdlines", "\u00b2 x\n9" + "9" * 5000 + " y\n"),
        ("tracefs/events/test/switch/format", "name: x\nID: " + "9" * 5000 + "\n"),
        ("tracefs/instances/tk/per_cpu/cpu0/stats", "entries: " + "9" * 5000 + "\nnow ts: 1\n"),
        ("kernel.json", '{"trace_instances": 5, "page_size": "abc", "cpus": "x", "config_hz": []}'),
        ("kernel.json", ""),
        ("clocks.json", '{"samples": [[], {"clock": 5}, {"clock": "mono", "ns": "x"}]}'),
    ],
)
def test_absurd_texts(tmp_path: Path, rel: str, text: str) -> None:
    session = make_session(tmp_path, two_cpus())
    path = session / "boots/0" / rel
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert main(["-q", "report", str(session)]) == 0
    assert main(["-q", "events", str(session), "--format", "kernel"]) == 0
    assert tracekit.open(session).report().boots[0].events == 1000


def test_an_absurd_cpu_number(tmp_path: Path) -> None:
    session = make_session(tmp_path, two_cpus())
    pipe = session / "boots/0/tracefs/per_cpu/cpu70000/trace_pipe_raw"
    pipe.parent.mkdir(parents=True)
    pipe.write_bytes(bytes(4096))
    assert len(tracekit.open(session)) == 1000
