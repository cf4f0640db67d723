"""The probes that a boot was recorded with, and those that failed: ``boots/N/bpf.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracekit.errors import Diagnostic, SessionError
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot

__all__ = ["MissingProbe", "ProbeReport", "probe_report"]

_LISTED = 1000  # more than there are kinds of probes


@dataclass(frozen=True, slots=True)
class MissingProbe:
    """An event that is missing because its functions could not be probed, and why."""

    event: str
    functions: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The probes of one boot.

    ``mode``: ``bpf``, ``kprobes`` or ``none``; ``reason`` says why it is not BPF. ``loaded`` counts
    probes, ``ring_full`` the records that found the BPF ring buffer full.
    """

    boot: int
    mode: str
    reason: str
    loaded: int
    missing: tuple[MissingProbe, ...]
    ring_full: int


def _entries(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    listed = document.get(key)
    entries = listed[:_LISTED] if isinstance(listed, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _missing(document: Mapping[str, Any]) -> Iterator[MissingProbe]:
    for entry in _entries(document, "missing"):
        functions = entry.get("functions")
        names = functions if isinstance(functions, list) else []
        yield MissingProbe(
            str(entry.get("event", "")), tuple(map(str, names)), str(entry.get("reason", ""))
        )


def probe_report(boot: Boot) -> tuple[ProbeReport | None, list[Diagnostic]]:
    """What a boot was probed with, and remarks on it; None if there were no probes."""
    path = f"boots/{boot.index}/bpf.json"
    if not boot.session.has(path):
        return None, []
    try:
        document = boot.session.json(path)
    except SessionError as error:
        return None, [Diagnostic("bpf-unreadable", "warning", f"{boot.where} bpf.json", str(error))]
    lost = document.get("lost")
    report = ProbeReport(
        boot=boot.index,
        mode=str(document.get("mode", "")),
        reason=str(document.get("reason", "")),
        loaded=len(_entries(document, "probes")),
        missing=tuple(_missing(document)),
        ring_full=lost if isinstance(lost, int) and not isinstance(lost, bool) else 0,
    )
    if report.ring_full <= 0:
        return report, []
    message = (
        f"{report.ring_full} records found the BPF ring buffer full; those that were not printed "
        "either are missing"
    )
    return report, [Diagnostic("bpf-ring-full", "warning", f"{boot.where} BPF probes", message)]
