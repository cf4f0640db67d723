"""The Timeline view: all lanes of a session on one axis, zoomable down to nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from tracekit.browse.lane_filter import lane_filter
from tracekit.browse.lanes import (
    Lane,
    find_gap,
    nearest_row,
    next_common,
    next_row,
)
from tracekit.text import duration
from tui.dialogs.ask import ask_gap, ask_window
from tui.events.table import EventsTable
from tui.host import host_of
from tui.jobs import Job, start
from tui.model import Model
from tui.timeline.choose_lanes import ask_lanes
from tui.timeline.lane_details import LaneDetails
from tui.timeline.lanes import Lanes
from tui.timeline.minimap import Minimap
from tui.timeline.panel import SidePanel
from tui.timeline.ruler import Ruler
from tui.timeline.state import LaneState, Made
from tui.view import View

__all__ = ["TimelineView"]

_T = TypeVar("_T")
_ZOOM = 0.5
_PAN = 0.25  # of the window
_WIDE = 180  # columns of the terminal from which on there is a panel beside the lanes
_TALL = 36  # lines of the terminal from which on there is a table below the lanes
_LANES_SHARE = 0.6  # of a tall view that the lanes take at most
_AT_ONCE = 1 << 20  # rows that are searched without a job


class TimelineView(View):
    """The minimap, the ruler, the lanes, and what is under the cursor."""

    title = "Timeline"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "Open", tooltip="Show the event in Events; zoom to a bar"),
        Binding("w,plus,equals_sign", "zoom(True)", "Zoom", key_display="w s", tooltip="Zoom in"),
        Binding("s,minus", "zoom(False)", "Zoom out", show=False, tooltip="Zoom out"),
        Binding("a,shift+left", "pan(False)", "Pan left", show=False, tooltip="Pan left"),
        Binding("d,shift+right", "pan(True)", "Pan", key_display="a d", tooltip="Pan right"),
        Binding("left,h", "step(False)", "Previous event", show=False,
                tooltip="Previous event of the lane"),
        Binding("right,l", "step(True)", "Event", key_display="← →",
                tooltip="Next event of the lane"),
        Binding("up,k", "lane(-1)", "Lane above", show=False, tooltip="Lane above"),
        Binding("down,j", "lane(1)", "Lane", key_display="↑ ↓", tooltip="Lane below"),
        Binding("m", "mark", "Mark", tooltip="Measure: mark A, then B, then none"),
        Binding("left_square_bracket", "gap(False)", "Previous gap", show=False,
                tooltip="Previous gap in the lane"),
        Binding("right_square_bracket", "gap(True)", "Gap", key_display="[ ]",
                tooltip="Next gap in the lane"),
        Binding("e", "kind(True)", "Kind", key_display="e E",
                tooltip="Next event of the same kind"),
        Binding("E", "kind(False)", "Previous of its kind", show=False,
                tooltip="Previous event of the same kind"),
        Binding("z", "fit", "Fit", tooltip="Zoom to A-B, the bar, the filter; again: everything"),
        Binding("W", "width", "Window", show=False, tooltip="Set how much time the window shows"),
        Binding("L", "least", "Gaps", show=False, tooltip="Set how long a gap is at least"),
        Binding("space", "only", "Only this", show=False,
                tooltip="Only the lane's events; mark the bar under the cursor"),
        Binding("v", "lanes", "Lanes", show=False, tooltip="Choose the lanes and their order"),
        Binding("p", "panel", "Panel", show=False, tooltip="What is in the window: show or hide"),
        Binding("t", "tasks", "Tasks", show=False, tooltip="The line of running tasks"),
        Binding("home", "end(False)", "First", show=False, tooltip="First event of the lane"),
        Binding("end,G", "end(True)", "Last", show=False, tooltip="Last event of the lane"),
    ]  # fmt: skip

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(model, id=id)
        self.state = LaneState(model)
        self._panel: bool | None = None  # whether it is shown; None: where there is room

    # -- life ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield SidePanel(self.model)
        yield Minimap(self.state)
        yield Ruler(self.state)
        yield Lanes(self.state)
        yield LaneDetails(self.state)
        with Container(id="below"):
            yield EventsTable(self.model, id="below-events")

    def on_mount(self) -> None:
        """Follow the model."""
        model = self.model
        for signal in (model.cursor_changed, model.window_changed, model.marks_changed):
            signal.subscribe(self, lambda _: self._draw())
        model.notes_changed.subscribe(self, lambda _: self._draw())
        model.matches_changed.subscribe(self, lambda _: self._draw())
        model.pending_changed.subscribe(self, lambda _: self._draw())
        model.selection_changed.subscribe(self, lambda _: self._filter())

    def on_shown(self) -> None:
        self.query_one(Lanes).focus()
        self._filter()
        if not self.state.on_chosen:  # the cursor was moved in another view
            self.state.choose_cpu()
        self._fit()
        self._draw()
        self.query_one(Lanes).reveal()

    def on_resize(self) -> None:
        self._fit()
        self._draw()

    def _fit(self) -> None:
        """Leave room below the lanes if the terminal is tall and there is something to show."""
        panel, wide = self.query_one(SidePanel), self.app.size.width >= _WIDE
        panel.display = wide if self._panel is None else self._panel
        panel.follow()
        below, lanes = self.query_one("#below"), self.query_one(Lanes)
        below.display = self.app.size.height >= _TALL and bool(below.children)
        most = int(self.size.height * _LANES_SHARE)
        lanes.styles.height = (
            min(lanes.wanted, most) if below.display and self.state.ready else "1fr"
        )

    def _draw(self) -> None:
        for widget in self.query("Minimap, Ruler, Lanes, LaneDetails"):
            widget.refresh()

    # -- lanes --------------------------------------------------------------------------------

    def _filter(self) -> None:
        """Make the lanes, or filter them by the current selection, unless that is done."""
        if self.display and not self.state.current:
            start(host_of(self), "lanes", self._make, self._made)
            self._draw()

    def _make(self, job: Job) -> Made:
        return self.state.make(self.model.selection, job.step)

    def _made(self, made: Made) -> None:
        self.state.take(made)
        self._fit()
        self._draw()
        self.query_one(Lanes).reveal()

    # -- what keys do -------------------------------------------------------------------------

    def action_zoom(self, closer: bool) -> None:
        """Zoom around the cursor, or around the middle if the cursor is not in the window."""
        start, end = self.model.window
        cursor = self.model.cursor_ns
        around = cursor if start <= cursor < end else (start + end) // 2
        self.model.zoom(_ZOOM if closer else 1 / _ZOOM, around)

    def action_pan(self, right: bool) -> None:
        """Move the window by a quarter of its width."""
        start, end = self.model.window
        by = round((end - start) * (_PAN if right else -_PAN))
        self.model.look_at(start + by, end + by)

    def action_step(self, forward: bool) -> None:
        """Go to the next event of the chosen lane, to its next span or change."""
        if not self.state.ready:
            return
        lane, span = self.state.lane, self.state.span
        if lane.kind == "spans":
            ns = span.start_ns if span else self.model.cursor_ns
            beside = lane.span_beside(ns, forward)
            if beside:
                self.state.go_to(beside)
                self._draw()
            return
        if lane.counter is not None:
            place = lane.counter.beside(self.model.cursor_ns, forward)
            if place is not None:
                self.model.go(int(lane.counter.at[place]))
            return
        row = next_row(lane.rows, self.model.cursor, forward)
        if row is not None:
            self.model.move_to(row)

    def action_lane(self, by: int) -> None:
        """Choose another lane."""
        if self.state.ready:
            self.state.chosen = min(max(self.state.chosen + by, 0), len(self.state.lanes) - 1)
            self.query_one(Lanes).reveal()
            self._draw()

    def action_end(self, last: bool) -> None:
        """Go to the first or last event of the chosen lane."""
        if not self.state.ready:
            return
        lane, index = self.state.lane, -1 if last else 0
        if lane.spans:
            self.state.go_to(lane.spans[index])
            self._draw()
        elif lane.counter is not None and len(lane.counter.at):
            self.model.go(int(lane.counter.at[index]))
        elif len(lane.rows):
            self.model.move_to(int(lane.rows[index]))

    def action_kind(self, forward: bool) -> None:
        """Go to the next event of the same kind as the one under the cursor."""
        model = self.model
        if not model.total:
            return
        cursor = np.array([model.cursor])
        rows = model.index.events.rows(int(model.recording.name_codes(cursor)[0]))
        selection, row = model.selection, model.cursor

        def then(row: int | None) -> None:
            if row is None:
                name = model.recording.event_names[int(model.recording.name_codes(cursor)[0])]
                host_of(self).say(f"no {'later' if forward else 'earlier'} {name}")
            else:
                model.move_to(row)

        self._search(
            len(rows) if selection.rows is not None else 0,
            lambda pause: next_common(rows, selection, row, forward, pause),
            then,
        )

    def action_gap(self, forward: bool) -> None:
        """Go to the next stretch of the chosen lane that is empty: a sixteenth of the window."""
        if not self.state.ready or self.state.lane.kind in ("spans", "counter"):
            host_of(self).say("gaps are between events: choose a lane that has some")
            return
        model, lane = self.model, self.state.lane
        least = model.least_gap
        row = model.cursor

        def then(gap: tuple[int, int] | None) -> None:
            if gap is None:
                host_of(self).say(
                    f"{lane.name}: no {'later' if forward else 'earlier'} gap of"
                    f" {duration(least)}; L sets how long they are"
                )
            else:
                model.move_to(gap[0])

        self._search(
            len(lane.rows),
            lambda pause: find_gap(model.ts_ns, lane.rows, row, least, forward, pause),
            then,
        )

    def _search(
        self,
        rows: int,
        search: Callable[[Callable[[], None]], _T],
        then: Callable[[_T], None],
    ) -> None:
        """Run ``search`` over that many rows: at once if they are few, else in a job."""
        if rows <= _AT_ONCE:
            then(search(lambda: None))
        else:
            start(host_of(self), "looking", lambda job: search(job.step), then)

    def action_mark(self) -> None:
        """Set mark A, then B; then clear both."""
        a, b = self.model.marks
        if not self.model.total:
            return
        if a is None:
            self.model.set_mark(0, self.model.cursor_ns)
        elif b is None:
            self.model.set_mark(1, self.model.cursor_ns)
        else:
            self.model.set_mark(0, None)
            self.model.set_mark(1, None)

    def action_fit(self) -> None:
        """Show what is selected: A-B, the bar, what the filter left; if that is shown, all."""
        model, (a, b), span = self.model, self.model.marks, self.state.span
        before = model.window
        if a is not None and b is not None and a != b:
            model.go_to_span(min(a, b), max(a, b))
        elif span is not None and span.end_ns > span.start_ns:
            model.fit(span.start_ns, span.end_ns)
        elif model.where and len(model.selection):
            first, last = (int(model.ts_ns[row]) for row in model.selection.ends())
            model.fit(first, last + 1)
        else:
            model.look_at(*model.extent)
        if model.window == before:
            model.look_at(*model.extent)

    def action_only(self) -> None:
        """Tables, counts and the legend are then of the lane, or of the bar under the cursor."""
        if not self.state.ready:
            return
        span, where = self.state.span, lane_filter(self.state.lane, self.model.recording)
        if span is not None:
            self.model.mark_span(span.start_ns, span.end_ns, span.label)
        elif where:
            host_of(self).filter_by(where)
        else:
            host_of(self).say("no bar of this lane is under the cursor")

    def action_lanes(self) -> None:
        """Choose which lanes there are; the session's notes keep it."""
        if self.state.ready:
            ask_lanes(host_of(self), self.state, self._filter)

    def action_panel(self) -> None:
        """Show the panel, or hide it."""
        panel = self.query_one(SidePanel)
        self._panel = not panel.display
        self._fit()
        panel.follow()

    def action_width(self) -> None:
        """Ask how much time to show."""
        ask_window(host_of(self), self.model)

    def action_least(self) -> None:
        """Ask how long a gap is."""
        ask_gap(host_of(self), self.model)

    def action_tasks(self) -> None:
        """Show the line of running tasks: if there is room, always, never."""
        state = self.state
        state.tasks = {None: True, True: False, False: None}[state.tasks]
        when = {None: "where there is room", True: "always", False: "never"}[state.tasks]
        host_of(self).say(f"the line that tells which task runs: {when}")
        self._fit()
        self._draw()
        self.query_one(Lanes).reveal()

    def action_enter(self) -> None:
        """Zoom into the span under the cursor, or show the event in the table."""
        span = self.state.span
        if span is not None:
            self.model.go_to_span(span.start_ns, span.end_ns)
        elif self.model.total:
            host_of(self).show_view("events")

    def on_lanes_picked(self, picked: Lanes.Picked) -> None:
        """Put the cursor on what was clicked."""
        self.query_one(Lanes).focus()
        state, model = self.state, self.model
        state.chosen = picked.lane
        lane, ns = state.lane, picked.ns
        span = lane.span_at(ns) if ns is not None else None
        if span is not None:
            state.go_to(span)
        elif ns is not None:
            self._tell(lane, ns)
            if len(lane.rows):
                model.move_to(nearest_row(model.ts_ns, lane.rows, ns))
        if picked.twice:
            self.action_enter()
        self._draw()

    def _tell(self, lane: Lane, ns: int) -> None:
        """Say what a place without events is, if the CPU was not just quiet there."""
        stretch = lane.stretches.at(ns)
        if stretch is not None and stretch.note:
            host_of(self).say(f"{lane.name}: {stretch.note}")
