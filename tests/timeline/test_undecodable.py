"""Events that cannot be decoded are counted, named, and make the record incomplete."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.ring.event_payloads import (
    FORMATS,
    data_loc_string,
    dynamic_u64,
    funcgraph_exit,
    function,
    header,
    rel_loc_string,
    sched_switch,
)
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import make_session
from tests.support.sessions.loose import loosen
from tracekit.cli import main
from tracekit.ftrace.format import parse_format
from tracekit.report.make import Report
from tracekit.timeline.undecodable import needed_length

WHOLE = (
    function(TEXT_ADDR + 0x1000, TEXT_ADDR),
    funcgraph_exit(TEXT_ADDR, 0, 1, 2),
    sched_switch(b"a", 1, b"b", 2),
    data_loc_string(1, b"text"),
    rel_loc_string(1, b"text"),
    dynamic_u64([1, 2]),
)


def session_of(where: Path, payloads: list[bytes]) -> Path:
    ring = RingBuffer(20)
    for i, payload in enumerate(payloads):
        ring.write(1_000_000 + i * 1000, payload)
    return make_session(where, layout_615([ring]))


def about(report: Report) -> dict[str, str]:
    return {d.code: d.message for d in report.diagnostics if d.code.startswith("event-")}


def test_what_can_be_decoded_is_not_counted(tmp_path: Path) -> None:
    report = tracekit.open(session_of(tmp_path, list(WHOLE))).report()
    assert report.undecodable == 0
    assert report.verdict == "no loss seen"
    assert about(report) == {}


def test_ids_without_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = [struct.pack("<HBBi", 900 + i % 2, 0, 0, 1) + bytes(8) for i in range(5)]
    session = session_of(tmp_path, [*WHOLE, *unknown])
    shutil.rmtree(loosen(session) / "boots/0/tracefs/events/test/switch")
    report = tracekit.open(session).report()
    assert report.boots[0].undecodable == 6
    assert not report.complete
    assert about(report) == {
        "event-unknown": "6 of 11 events cannot be decoded: no format was saved for their id: "
        "900 (3), 901 (2), 300 (1)"
    }
    assert main(["-q", "report", str(session)]) == 0
    text = capsys.readouterr().out
    assert "6 undecodable" in text
    assert "900 (3), 901 (2), 300 (1)" in " ".join(text.split())
    assert main(["-q", "report", "--json", str(session)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["boots"][0]["undecodable"] == 6
    assert document["complete"] is False


def test_a_format_that_cannot_be_used(tmp_path: Path) -> None:
    session = session_of(tmp_path, list(WHOLE))
    broken = "name: switch\nID: 300\nformat:\n\tfield:int a;\toffset:9999999;\tsize:4;\n"
    (loosen(session) / "boots/0/tracefs/events/test/switch/format").write_text(broken)
    report = tracekit.open(session).report()
    assert report.undecodable == 1
    assert about(report)["event-unknown"].endswith(": 300 test:switch (1)")


@pytest.mark.parametrize(
    "cut",
    [
        sched_switch(b"a", 1, b"b", 2)[:-4],
        header("test:data_loc"),
        data_loc_string(1, b"text")[:12],
        data_loc_string(1, b"a longer text")[:-8],
        rel_loc_string(1, b"a longer text")[:-8],
        dynamic_u64([1, 2])[:-4],
        function(TEXT_ADDR, TEXT_ADDR)[:16],
    ],
)
def test_payloads_that_are_cut(tmp_path: Path, cut: bytes) -> None:
    report = tracekit.open(session_of(tmp_path, [*WHOLE, cut])).report()
    assert report.undecodable == 1
    assert not report.complete
    message = about(report)["event-cut"]
    assert message.startswith("1 of 7 events cannot be decoded: they are shorter than their format")


def test_two_ids_of_one_name_are_counted_together(tmp_path: Path) -> None:
    cut = [struct.pack("<HBBi", number, 0, 0, 1) for number in (300, 304)]
    session = session_of(tmp_path, [*WHOLE, *cut])
    kept = session / "boots/0/earlier/formats.json"
    kept.parent.mkdir()
    text = FORMATS["test:switch"].replace("ID: 300", "ID: 304")
    kept.write_text(json.dumps({"formats": [{"system": "test", "name": "switch", "text": text}]}))
    report = tracekit.open(session).report()
    assert report.undecodable == 2
    assert about(report)["event-cut"].endswith(": test:switch (2)")


def test_many_ids_are_named_up_to_a_limit(tmp_path: Path) -> None:
    unknown = [struct.pack("<HBBi", 900 + i, 0, 0, 1) for i in range(300)]
    message = about(tracekit.open(session_of(tmp_path, unknown)).report())["event-unknown"]
    assert message.endswith("911 (1), and 288 more (288)")
    assert len(message) < 300


def test_arrays_that_the_kernel_declares_at_their_longest() -> None:
    stack = FORMATS["ftrace:function"].replace("args[];\toffset:24;\tsize:0", "{}")
    for declared in ("caller[8];\toffset:24;\tsize:64", "caller[];\toffset:24;\tsize:0"):
        fmt = parse_format(stack.format(declared), "ftrace", "format")
        assert needed_length(fmt) == 24
    fmt = parse_format(stack.format("caller[8];\toffset:24;\tsize:64"), "other", "format")
    assert needed_length(fmt) == 88


@pytest.mark.parametrize("name", ["handover-7.2-to-7.3-tsc", "same-boot-7.2"])
def test_real_handovers_decode_whole(session: Callable[[str], Path], name: str) -> None:
    report = tracekit.open(session(name)).report()
    assert report.undecodable == 0
    assert about(report) == {}
