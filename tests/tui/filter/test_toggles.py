"""``F``: what is turned off becomes a condition of the filter, and the other way round."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.support.driver import drive, screen_text, until
from tracekit.query.expr import parse
from tracekit.query.toggles import choose, switched_on
from tui.app import TracekitApp
from tui.filter.filter_bar import FilterBar
from tui.filter.toggles import ToggleList, Toggles
from tui.model import Model

LINE = re.compile(r"\[[x ]\] (.*?) +[▏▎▍▌▋▊▉█]* +([\d,]+) +(\S+)")


def _model(app: TracekitApp) -> Model:
    assert app.model is not None
    return app.model


async def _opened(pilot: Pilot[Any], app: TracekitApp) -> ToggleList:
    await pilot.press("F")
    await until(pilot, lambda: isinstance(app.screen, Toggles))
    await _counted(pilot, app)
    return app.screen.query_one(ToggleList)


def listed(app: TracekitApp) -> list[tuple[str, int, str]]:
    """Every line of the list: its value, how many events have it, and how many are shown."""
    panel = app.screen.query_one(ToggleList)
    top = int(panel.scroll_offset.y)
    texts = [panel.render_line(y - top).text for y in range(panel.virtual_size.height)]
    found = [LINE.fullmatch(text.strip()) for text in texts if text.strip()]
    return [(m[1], int(m[2].replace(",", "")), m[3]) for m in found if m]


async def _counted(pilot: Pilot[Any], app: TracekitApp) -> None:
    def counted() -> bool:
        found = listed(app)
        return bool(found) and "…" not in {shown for *_, shown in found}

    await until(pilot, counted, "the events are counted")


def _line(app: TracekitApp, name: str) -> list[str]:
    """The words of the line of one value."""
    (line,) = [one for one in screen_text(app).splitlines() if f"] {name} " in one]
    return line.split("│")[1].split()


def test_cpus_are_turned_on_and_off_with_their_counts() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = _model(app)
        counts = np.bincount(model.recording.rows.cpu).tolist()
        await _opened(pilot, app)
        words = _line(app, "CPU 1")
        assert words[:4] == ["[x]", "CPU", "1", words[3]]
        assert words[-2:] == [f"{counts[1]:,}", f"{counts[1]:,}"]
        await pilot.press("space")
        await until(pilot, lambda: model.where == "cpu = 1" and len(model.selection) == counts[1])
        await _counted(pilot, app)
        assert _line(app, "CPU 0")[:1] == ["["]
        assert _line(app, "CPU 0")[-2:] == [f"{counts[0]:,}", "-"]
        await pilot.press("j", "space")
        await until(pilot, lambda: model.where == "cpu in ()" and not len(model.selection))
        await pilot.press("a")
        await until(pilot, lambda: model.where == "" and len(model.selection) == model.total)
        await pilot.press("o")
        await until(pilot, lambda: model.where == "cpu = 1")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Toggles))
        assert "cpu = 1" in screen_text(app).splitlines()[-2]

    drive(script)


def test_events_tasks_and_sources_join_the_filter() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = _model(app)
        table = model.recording.table(args=False).select(["event", "comm", "source"]).to_pylist()
        app.query_one(FilterBar).apply("boot = 0 or boot = 1")
        await until(pilot, lambda: model.where != "")
        await _opened(pilot, app)
        for key, column in (("l", "event"), ("right", "comm"), ("tab", "source")):
            await pilot.press(key)
            await _counted(pilot, app)
            counts = [(value, count) for value, count, _ in listed(app)]
            counted = Counter(row[column] or "unknown" for row in table)
            assert dict(counts) == dict(counted) and len(counts) == len(counted)
            assert counts == sorted(counts, key=lambda one: one[1], reverse=True)
        await pilot.press("h", "h")
        await _counted(pilot, app)
        await pilot.press("space")  # the most frequent event
        where = "(boot = 0 or boot = 1) and event != sched_switch"
        await until(pilot, lambda: model.where == where)
        wanted = sum(row["event"] != "sched:sched_switch" for row in table)
        await until(pilot, lambda: len(model.selection) == wanted)
        assert where in screen_text(app)

    drive(script)


def test_typing_narrows_the_list() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = _model(app)
        panel = await _opened(pilot, app)
        await pilot.press("l")
        await _counted(pilot, app)
        await pilot.press("slash", *"initcall")
        await until(pilot, lambda: panel.virtual_size.height == 3)
        assert "sched:sched_switch" not in screen_text(app)
        await pilot.press("enter", "G", "o")
        await until(pilot, lambda: model.where == "event = initcall_level")
        await pilot.press("escape")
        assert isinstance(app.screen, Toggles)
        assert app.screen.query_one(Input).value == ""
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Toggles))

    drive(script)


def test_the_panel_shows_what_the_filter_says() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        app.query_one(FilterBar).apply("event ~ sched_* and cpu not in (0)")
        await until(pilot, lambda: _model(app).where != "")
        await _opened(pilot, app)
        assert [_line(app, cpu)[0] for cpu in ("CPU 0", "CPU 1")] == ["[", "[x]"]
        await pilot.press("space")
        await until(pilot, lambda: _model(app).where == "event ~ sched_*")

    drive(script)


def test_counts_that_come_after_it_was_closed_are_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    then: list[Callable[[Any], None]] = []
    monkeypatch.setattr(
        "tui.filter.toggles.start", lambda _host, _name, _work, done: then.append(done)
    )

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("F")
        await until(pilot, lambda: isinstance(app.screen, Toggles) and bool(then))
        panel = app.screen
        head = panel.query_one("#toggles-head")
        panel.dismiss()
        await head.remove()
        then[0](None)
        await until(pilot, lambda: not panel.is_attached)

    drive(script)


def test_a_click_toggles() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await _opened(pilot, app)
        await pilot.click(ToggleList, offset=(4, 1))
        await until(pilot, lambda: _model(app).where == "cpu = 0")

    drive(script)


@pytest.mark.parametrize("size", [(60, 20), (160, 48)])
def test_it_fits(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await _opened(pilot, app)
        assert _line(app, "CPU 0")[0] == "[x]"
        assert "events" in screen_text(app)

    drive(script, size=size)


EVENTS = ["a:switch", "a:wake", "b:wake", "c:odd one", "d:"]


@pytest.mark.parametrize(
    ("before", "on", "after"),
    [
        ("", ["a:switch"], "event = switch"),
        ("", ["a:wake", "b:wake"], "event in (a:wake, b:wake)"),
        ("", EVENTS[1:], "event != switch"),
        ("cpu = 0 and event = x and pid = 1", ["a:wake"], "cpu = 0 and event = a:wake and pid = 1"),
        ("event = switch and event ~ s*", EVENTS, "event ~ s*"),
        ("event = switch", EVENTS, ""),
        ("event = switch or cpu = 1", ["d:"], "(event = switch or cpu = 1) and event = d:"),
        ("not event = switch", ["c:odd one"], 'not event = switch and event = "odd one"'),
        ("", [], "event in ()"),
    ],
)
def test_choices_become_conditions(before: str, on: list[str], after: str) -> None:
    expr = choose(parse(before), "event", on, EVENTS)
    assert str(expr) == after
    assert switched_on(expr, "event", EVENTS) == set(on)
    assert parse(str(expr)) == expr


def test_unknown_tasks_can_be_chosen() -> None:
    expr = choose(parse(""), "comm", [""], ["", "kexec", "12", "x y"])
    assert str(expr) == 'comm = ""'
    expr = choose(parse(""), "comm", ["12", "x y"], ["", "kexec", "12", "x y"])
    assert str(expr) == 'comm in ("12", "x y")'
