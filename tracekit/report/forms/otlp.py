"""The report as OpenTelemetry spans: OTLP/JSON, one trace a handover.

The root span is the blackout; its children are the phases, theirs the devices, initcalls, units
and steps that began in them. Each kernel is a resource. OTLP's times are absolute: where no wall
clock is known they count from 1970-01-01T00:00:01Z, and an attribute says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracekit.frozen import dataclass
from tracekit.report.critical.blame import Blamed
from tracekit.report.make import HandoverReport, Report
from tracekit.report.phases import MEANING, Phase
from tracekit.text import printable

__all__ = ["WallTime", "otlp"]

_NOWHEN_NS = 10**9  # when an unknown wall clock begins
_U64 = (1 << 64) - 1
_INTERNAL, _ERROR = 1, 2  # SPAN_KIND_INTERNAL, STATUS_CODE_ERROR, opentelemetry/proto/trace/v1


@dataclass(frozen=True, slots=True)
class WallTime:
    """``offset_ns`` turns times of the axis into ns since 1970; ``basis`` says what it rests on."""

    offset_ns: int
    error_ns: int | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Span:
    """A span before it is written; ``parent`` '' is the root's."""

    id: str
    parent: str
    name: str
    boot: int
    start_ns: int
    end_ns: int
    about: Mapping[str, object]
    failed: str = ""


def _value(value: object) -> dict[str, Any]:
    """An AnyValue; 64-bit integers are strings in JSON."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": printable(str(value))}


def _attributes(about: Mapping[str, object]) -> list[dict[str, Any]]:
    return [{"key": k, "value": _value(v)} for k, v in about.items() if v is not None]


class _Ids:
    """Ids that are the same each time the same session is written."""

    def __init__(self, fingerprint: str, number: int) -> None:
        self._seed = f"{fingerprint} {number}"
        self._count = 0

    @property
    def trace(self) -> str:
        """16 bytes, hex."""
        return hashlib.sha256(self._seed.encode()).hexdigest()[:32]

    def span(self) -> str:
        """8 bytes, hex, another one each time."""
        self._count += 1
        return hashlib.sha256(f"{self._seed} {self._count}".encode()).hexdigest()[:16]


def _phase_span(phase: Phase, ids: _Ids, root: str) -> _Span:
    start = phase.start_ns or 0
    about = {
        "tracekit.phase": phase.name,
        "tracekit.meaning": MEANING.get(phase.name.partition(":")[0]),
        "tracekit.note": phase.note or None,
    }
    return _Span(ids.span(), root, phase.name, phase.boot, start,
                 start + (phase.duration_ns or 0), about)  # fmt: skip


def _thing_span(one: Blamed, ids: _Ids, parent: str, end_ns: int) -> _Span:
    start = one.start_ns or 0
    about = {
        "tracekit.kind": one.kind,
        "tracekit.detail": one.detail or None,
        "tracekit.duration_error_ns": one.error_ns,
        "tracekit.duration_is_upper_bound": True if one.at_most else None,
    }
    end = end_ns if one.duration_ns is None else start + one.duration_ns
    failed = "" if one.finished else "it never returned"
    return _Span(ids.span(), parent, one.name, one.boot, start, max(start, end), about, failed)


def _spans(
    report: Report, number: int, things: Sequence[Blamed], ids: _Ids
) -> Iterator[_Span]:  # fmt: skip
    h = report.handovers[number]
    phases = [
        p for p in report.phases
        if p.handover == number and p.start_ns is not None and p.duration_ns is not None
    ]  # fmt: skip
    inside = [p for p in phases if p.in_blackout]
    if not phases:
        return
    start = min(p.start_ns or 0 for p in inside or phases)
    end = max((p.start_ns or 0) + (p.duration_ns or 0) for p in inside or phases)
    root = ids.span()
    yield _Span(root, "", f"{h.way.name} handover", h.old, start, end, _root_about(report, h))
    spans = [(p, _phase_span(p, ids, root if p.in_blackout else "")) for p in phases]
    yield from (span for _, span in spans)
    for one in things:
        if one.start_ns is None or one.boot not in (h.old, h.new):
            continue
        around = [span for p, span in spans
                  if p.boot == one.boot and p.name == one.phase]  # fmt: skip
        if around:
            yield _thing_span(one, ids, around[0].id, around[0].end_ns)


def _root_about(report: Report, h: HandoverReport) -> dict[str, object]:
    return {
        "tracekit.way": h.way.text,
        "tracekit.blackout_ns": h.blackout_ns,
        "tracekit.blackout_error_ns": h.blackout_error_ns,
        "tracekit.gap_ns": h.gap_ns,
        "tracekit.gap_error_ns": h.gap_error_ns,
        "tracekit.zero": h.zero,
        "tracekit.record": report.verdict,
    }


def _written(span: _Span, trace: str, offset_ns: int) -> dict[str, Any]:
    start, end = (min(max(ns + offset_ns, 0), _U64) for ns in (span.start_ns, span.end_ns))
    document: dict[str, Any] = {
        "traceId": trace,
        "spanId": span.id,
        "name": printable(span.name) or "unnamed",
        "kind": _INTERNAL,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": _attributes({"tracekit.boot": span.boot, **span.about}),
    }
    if span.parent:
        document["parentSpanId"] = span.parent
    if span.failed:
        document["status"] = {"code": _ERROR, "message": span.failed}
    return document


def otlp(
    report: Report, things: Sequence[Blamed], fingerprint: str, wall: WallTime | None, version: str
) -> str:
    """An ExportTraceServiceRequest as JSON; ``wall`` is None where no wall clock is known."""
    made = [
        (ids.trace, span)
        for number in range(len(report.handovers))
        for ids in [_Ids(fingerprint, number)]
        for span in _spans(report, number, things, ids)
    ]
    first = min((span.start_ns for _, span in made), default=0)
    offset = wall.offset_ns if wall is not None else _NOWHEN_NS - first
    clock = "unknown: times count from the first span" if wall is None else wall.basis
    resources = []
    for boot in report.boots:
        spans = [_written(span, trace, offset) for trace, span in made if span.boot == boot.index]
        about: dict[str, object] = {
            "service.name": "linux",
            "service.version": boot.release,
            "os.type": "linux",
            "tracekit.boot": boot.index,
            "tracekit.session.fingerprint": f"sha256:{fingerprint}",
            "tracekit.clock": f"{boot.clock}; {boot.clock_method}",
            "tracekit.clock_error_ns": boot.clock_error_ns,
            "tracekit.wall_clock": clock,
            "tracekit.wall_clock_error_ns": wall.error_ns if wall is not None else None,
        }
        scope = {"name": "tracekit", "version": version}
        resources.append({"resource": {"attributes": _attributes(about)},
                          "scopeSpans": [{"scope": scope, "spans": spans}]})  # fmt: skip
    return json.dumps({"resourceSpans": [r for r in resources if r["scopeSpans"]]}, indent=1) + "\n"
