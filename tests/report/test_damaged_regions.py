"""Damaged memory is never passed over: what is gone is said, and counted where the kernel counted.

``python -m pytest -s`` prints the table that docs/fidelity.md shows.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.ring.page_damages import KINDS, damaged
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.report.losses import account
from tracekit.report.verdict import judge
from tracekit.session import Session
from tracekit.timeline.boot import Boot
from tracekit.timeline.merge import merge

CAPTURES = ("handover-7.2-to-7.3-tsc", "same-boot-7.2", "stock-6.12-same-boot")
REGION = "boots/0/regions/tkA.raw"


class OtherRegion:
    """A session whose region reads as ``data``."""

    def __init__(self, session: Session, data: bytes) -> None:
        self._session, self._data = session, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def read(self, path: str) -> bytes:
        return self._data if path == REGION else self._session.read(path)


@dataclass(frozen=True)
class Told:
    """What tracekit says of a region: stamps by CPU, the account, the verdict."""

    stamps: Counter[tuple[int, int]]
    lost: int
    remarks: int
    verdict: str
    taken: dict[int, int]


class _Boot:
    def __init__(self, accounts: list[Any]) -> None:
        self.lost = sum(a.lost or 0 for a in accounts)
        self.unreadable = sum(a.unreadable for a in accounts)
        self.undecodable = 0
        self.counted = all(a.counted for a in accounts)
        self.cpus = accounts


def told(session: Session, data: bytes) -> Told:
    merged = merge([Boot(OtherRegion(session, data), 0)], probes=False)  # type: ignore[arg-type]
    (part,) = merged.parts
    accounts, remarks = account(part)
    notes = [*remarks, *part.boot.diagnostics, *(d for b in part.buffers for d in b.diagnostics)]
    cpus, stamps = merged.rows.cpu.tolist(), merged.rows.ts_raw.tolist()
    boot = _Boot(accounts)
    taken = {cpu: c.taken for b in part.buffers for cpu, c in b.counters.items()}
    warnings = sum(d.severity != "info" for d in notes)
    seen = Counter(zip(cpus, stamps, strict=True))
    return Told(seen, boot.lost, warnings, judge([boot], notes), taken)


def by_then(stamps: Counter[tuple[int, int]], taken: dict[int, int]) -> int:
    return sum(n for (cpu, ts), n in stamps.items() if ts <= taken.get(cpu, -1))


@pytest.mark.parametrize(
    "tries", [pytest.param(3, marks=pytest.mark.slow), pytest.param(40, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_gone_is_said(name: str, tries: int, session: Callable[[str], Path]) -> None:
    """``tries`` damages of each kind."""
    of = tracekit.open(session(name)).session
    data = of.read(REGION)
    rings = [ring for ring in parse_layout(data, name).cpus if len(ring.pages) > 3]
    whole = told(of, data)
    assert whole.verdict != "incomplete" and not whole.lost
    rng = random.Random(name)
    losing = silent = lost = counted = 0
    for kind in KINDS:
        hurt = unsaid = 0
        for _ in range(tries):
            now = told(of, damaged(data, rng.choice(rings), kind, rng))
            if not (gone := whole.stamps - now.stamps):
                continue
            hurt += 1
            unsaid += now.verdict != "incomplete" or not now.remarks
            lost += by_then(gone, now.taken)
            counted += min(by_then(gone, now.taken), now.lost)
        print(f"| {name} | {kind} | {hurt} | {unsaid} |")
        losing, silent = losing + hurt, silent + unsaid
    assert losing > tries * len(KINDS) * 0.7
    assert silent <= 0.02 * losing
    assert counted >= 0.95 * lost  # of what the kernel had counted when the snapshot was taken


def test_a_whole_ring_zeroed_inside_is_not_complete(session: Callable[[str], Path]) -> None:
    of = tracekit.open(session("handover-7.2-to-7.3-tsc")).session
    data = bytearray(of.read(REGION))
    for ring in parse_layout(bytes(data), "whole").cpus:
        for page in ring.pages[1:-1]:
            data[page : page + ring.subbuf_size] = bytes(ring.subbuf_size)
    now = told(of, bytes(data))
    assert now.verdict == "incomplete"
    assert now.lost >= 10_000  # what the snapshot's counters count
    assert now.stamps.total() < 200
