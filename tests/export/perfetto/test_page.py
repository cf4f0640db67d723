"""Traces in Perfetto's own page: they open, with all their tracks, and it complains of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.browser import Page, chromium
from tests.support.perfetto.page import open_trace
from tests.support.perfetto.processor import missing
from tracekit.cli import main

pytestmark = pytest.mark.skipif(
    chromium() is None or bool(missing()),
    reason=f"NOT TESTED: PERFETTO'S PAGE: {missing() or 'Chromium is not installed'}",
)
_QUERY = (
    "app.trace.engine.query({!r}).then(result => {{ const rows = []; "
    "for (const it = result.iter({{a: 'str', b: 0}}); it.valid(); it.next()) "
    "rows.push([it.a, it.b]); return rows; }})"
)
_TRACKS = "app.trace.workspace.flatTracks.map(track => track.name)"
_COMPLAINTS = (
    "[...app.trace.loadingErrors.map(String), "
    "...[...document.querySelectorAll('.modal-dialog')].map(dialog => dialog.innerText)]"
)
_ERRORS = (
    "select name as a, value as b from stats where value != 0 "
    "and severity in ('error', 'data_loss')"
)


async def _asked(page: Page, query: str) -> dict[str, int]:
    """(a, b) of each row of a query of the page's own engine."""
    told = await page.call(
        "Runtime.evaluate", expression=_QUERY.format(query), awaitPromise=True, returnByValue=True
    )
    assert "exceptionDetails" not in told, told
    return dict(told["result"]["value"])


async def _opened(trace: Path, at: Path) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """(events by kernel, errors and losses, names of the tracks)."""
    async with open_trace(trace, at) as page:
        await page.until("document.body.innerText.includes('CPU 1 Scheduling')")
        events = await _asked(
            page,
            "select case when cpu < 4096 then 'old' else 'new' end as a, count(*) as b "
            "from ftrace_event group by 1",
        )
        errors = await _asked(page, _ERRORS)
        assert await page.value(_COMPLAINTS) == []
        tracks: list[str] = await page.value(_TRACKS)
        return events, errors, tracks


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        pytest.param("same-boot-wide-7.2", marks=pytest.mark.slow),
        pytest.param("vmcore-7.2", marks=pytest.mark.slow),
    ],
)
def test_the_page_shows_a_trace(name: str, session: Callable[[str], Path], tmp_path: Path) -> None:
    trace = tmp_path / "x.pftrace"
    command = ["-q", "export", str(session(name)), "--format", "perfetto", "-o", str(trace)]
    assert main(command) == 0
    events, errors, tracks = asyncio.run(_opened(trace, tmp_path))
    recording = tracekit.open(session(name))
    boots = recording.rows.boot
    lossy = name == "vmcore-7.2"
    handover = name == "demo"  # where the old kernel leaves, one event is added: a task ran
    assert events["old"] == int((boots == 0).sum()) + handover
    assert events.get("new", 0) == int((boots == 1).sum())
    assert set(errors) == ({"ftrace_cpu_has_data_loss"} if lossy else set())
    assert {"CPU 0 Scheduling", "CPU 1 Scheduling", "clocks"} <= set(tracks)
    if handover:
        assert {"phases", "handover", "device shutdowns", "initcalls"} <= set(tracks)
    assert ("lost events" in tracks) == lossy
