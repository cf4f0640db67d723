"""The spans, read by OpenTelemetry's own schema where it is installed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.sessions.handovers import opened
from tracekit.cli import main
from tracekit.recording import Recording
from tracekit.report.critical.blame import blame
from tracekit.report.forms.otlp import WallTime, otlp

_FINGERPRINT = "0f" * 32
_WALL = WallTime(1_795_374_071_000_000_000, 1000, "a test")


def document(recording: Recording, wall: WallTime | None = _WALL) -> dict[str, Any]:
    report = recording.report()
    text = otlp(report, blame(recording, report), _FINGERPRINT, wall, "0.1")
    return dict(json.loads(text))


@pytest.fixture(scope="module")
def demo() -> Recording:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        recording = tracekit.open(path)
        assert len(recording)
        return recording


def spans(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in made["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def check(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Ids are unique, parents are there, and children begin within them."""
    by_id = {span["spanId"]: span for span in spans(made)}
    assert len(by_id) == len(list(spans(made)))
    for span in by_id.values():
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert 0 < start <= end
        if parent := by_id.get(span.get("parentSpanId", "")):
            assert parent["traceId"] == span["traceId"]
            assert int(parent["startTimeUnixNano"]) <= start <= int(parent["endTimeUnixNano"])
        else:
            assert "parentSpanId" not in span
    return by_id


def test_a_blackout_has_its_phases_and_they_their_calls(demo: Recording) -> None:
    by_id = check(document(demo))
    named = {span["name"]: span for span in by_id.values()}
    root = named["kexec handover"]
    took = int(root["endTimeUnixNano"]) - int(root["startTimeUnixNano"])
    assert took == pytest.approx(3099451986, abs=1)
    assert named["device shutdown"]["parentSpanId"] == root["spanId"]
    assert named["0000:00:1f.2"]["parentSpanId"] == named["device shutdown"]["spanId"]
    assert named["acpi_init"]["parentSpanId"] == named["initcalls: subsys"]["spanId"]
    assert "parentSpanId" not in named["kexec load"]
    assert [r["resource"]["attributes"][1]["value"] for r in document(demo)["resourceSpans"]] == [
        {"stringValue": "7.2.13"}, {"stringValue": "7.3.4"},
    ]  # fmt: skip


def test_the_same_session_gives_the_same_ids(demo: Recording) -> None:
    assert document(demo) == document(demo)


def test_without_a_wall_clock_times_say_so(demo: Recording) -> None:
    made = document(demo, None)
    first = min(int(span["startTimeUnixNano"]) for span in spans(made))
    assert first == 10**9
    about = {a["key"]: a["value"] for a in made["resourceSpans"][0]["resource"]["attributes"]}
    assert about["tracekit.wall_clock"]["stringValue"].startswith("unknown")


OTHERS = ["stock-6.12-panic-tsc", "same-boot-wide-7.2", "vmcore-7.2"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_sessions(name: str, session: Callable[[str], Path]) -> None:
    by_id = check(document(opened(session(name))))
    assert bool(by_id) == (name == "stock-6.12-panic-tsc")


@pytest.mark.parametrize("name", ["demo", *OTHERS])
def test_opentelemetry_reads_it(name: str, session: Callable[[str], Path]) -> None:
    """By the proto's JSON mapping; OTLP alone writes ids as hex (its specification says so)."""
    pytest.importorskip(
        "opentelemetry.proto", reason="NOT TESTED: OTLP: opentelemetry-proto is not installed"
    )
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    made = document(opened(session(name)))
    for span in spans(made):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    read = json_format.ParseDict(made, ExportTraceServiceRequest())
    names = [s.name for r in read.resource_spans for c in r.scope_spans for s in c.spans]
    assert names == [span["name"] for span in spans(made)]
    assert all(r.resource.attributes[0].key == "service.name" for r in read.resource_spans)


def test_the_command_writes_it(tmp_path: Path) -> None:
    target = tmp_path / "spans.json"
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        assert main(["-q", "report", str(path), "--format", "otlp", "-o", str(target)]) == 0
        assert main(["-q", "report", str(path), "--html", "x", "--format", "otlp"]) == 2
        assert main(["-q", "report", str(path), "-o", str(target)]) == 2
    assert main(["-q", "report"]) == 2
    check(json.loads(target.read_text()))
