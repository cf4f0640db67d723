"""Paints lanes: their cells, as characters with styles."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.style import Style

from tracekit.browse.lanes import SWITCH, Dark, Lane, Span
from tracekit.browse.running_tasks import Turns, turns_in
from tracekit.query.selection import among
from tracekit.text import duration, measured
from tui.theme import EIGHTHS, RAMP, Look
from tui.timeline.cell_row import CellRow, one_line
from tui.timeline.missing import Missing
from tui.timeline.state import LaneState, Scale

__all__ = ["LanePainter", "heights"]

_Array = npt.NDArray[Any]
_SAMPLES = 8  # events of a cell that determine its colour
_KNOWN = 0.5  # share of a cell of which the task must be known
_UNTOLD = " task unknown "
_SOLID = 0.95  # busy share of a cell from which on the task's name is written there
_MOST_MATCHES = 1 << 14
_SHORTEST = 4  # cells that a label needs
_WORDY = ("ftrace:", "printk:")  # events whose arguments say more than their names
_REVERSE = Style(reverse=True)


def heights(counts: _Array, peak: int, most: int) -> list[int]:
    """0 for none, 1 to ``most`` for 1 to ``peak`` of them, on a log scale."""
    if peak <= 1:
        return [(most + 1) // 2 if n else 0 for n in counts.tolist()]
    top = math.log(peak)
    return [1 + round((most - 1) * math.log(n) / top) if n else 0 for n in counts.tolist()]


def _cut(text: str, room: int) -> str:
    """``text``, cut to fit into ``room`` cells; '' if too little would be left to read."""
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room >= _SHORTEST else ""


def _run(cells: _Array) -> int:
    """How many of some ascending numbers follow one another from the first on."""
    apart = np.flatnonzero(np.diff(cells) > 1)
    return int(apart[0]) + 1 if len(apart) else len(cells)


def _dark_texts(dark: Dark) -> list[str]:
    """How long it is dark: the longest text first."""
    if dark.length_ns is None:
        return [" dark, length unknown ", " dark "]
    length, error = measured(dark.length_ns, dark.error_ns, dark.bounds)
    return [f" dark {length} {error} " if error else f" dark {length} ", f" dark {length} "]


class LanePainter:
    """Draws lanes of one window at one scale, ``peak`` being the most events of a cell."""

    def __init__(self, state: LaneState, look: Look, scale: Scale, peak: int) -> None:
        self._state, self._look, self._scale, self._peak = state, look, scale, peak
        self._recording = state.model.recording
        self.edges = state.edges(scale)
        jumps = sorted(ns for ns in state.jumps if scale.start <= ns < scale.end)
        self._jump_cells = [scale.cell(ns) for ns in jumps]

    def paint(self, lane: Lane, whole: Lane, rows: int, tasks: bool) -> list[CellRow]:
        """A lane, ``rows`` high; the last of them for the task that runs if ``tasks``.

        ``whole`` is the lane including the events that the filter hides.
        """
        drawn = [CellRow(self._scale.cells, self._look.base) for _ in range(rows)]
        missing = Missing(lane.stretches, self._scale)
        if lane.kind == "spans":
            missing.draw(self._look, drawn, np.zeros(self._scale.cells, np.int64))
            self._spans(lane, drawn)
            return drawn
        if lane.counter is not None:
            most = lane.counter.most(np.array(self._scale.times))
            missing.draw(self._look, drawn, (most > 0).astype(np.int64))
            self._values(lane.name, most, drawn)
            return drawn
        above = drawn[:-1] if tasks else drawn
        borders = among(lane.rows, self.edges)
        counts = np.diff(borders)
        systems = self._systems(lane.rows, borders)
        hues = [self._look.hue(system) if system else self._look.base for system in systems]
        missing.draw(self._look, above, counts)
        if int(counts.sum()) <= self._scale.cells:
            self._events(lane, counts, borders, hues, above, missing.blocked(counts))
        else:
            self._density(lane, counts, hues, above)
        for cell, system in enumerate(systems if self._look.plain else ()):
            if counts[cell]:
                above[-1].chars[cell] = self._look.sign(system, above[-1].chars[cell])
        missing.draw_losses(self._look, above[0])
        self._matches(lane, above)
        if lane.kind == "cpu":
            self._words(missing, counts, above[0])
        if tasks:
            self._tasks(whole, missing, drawn[-1])
        return drawn

    def _words(self, missing: Missing, counts: _Array, row: CellRow) -> None:
        """Write what the cells without events are, and how long it is dark, if there is room."""
        dark = {self._scale.cell(dark.start_ns): dark for dark in self._state.dark}
        for start, end, word in missing.words(counts):
            texts = [f" {word} "]
            here = next((dark[cell] for cell in dark if start - 1 <= cell <= start), None)
            if word == "unknown" and here is not None:
                texts = _dark_texts(here)
            text = next((t for t in texts if len(t) + 2 <= end - start), None)
            if text:
                row.write((start + end - len(text)) // 2, text, row.styles[start])

    # -- events -------------------------------------------------------------------------------

    def _systems(self, rows: _Array, borders: _Array) -> list[str]:
        """The most frequent system in a sample of each cell's events; '' where there are none."""
        names = self._recording.event_names
        systems = list(dict.fromkeys(name.partition(":")[0] for name in names))
        cells = len(borders) - 1
        if not systems or borders[-1] == borders[0]:
            return [""] * cells
        counts = np.diff(borders)
        filled = np.flatnonzero(counts)
        share = np.arange(_SAMPLES) * 2 + 1
        samples = borders[filled, None] + counts[filled, None] * share // (2 * _SAMPLES)
        of_name = np.array([systems.index(name.partition(":")[0]) for name in names])
        sampled = of_name[self._recording.name_codes(rows[samples.reshape(-1)])].reshape(
            samples.shape
        )
        tally = np.zeros((len(filled), len(systems)), np.int64)
        for column in sampled.T:
            tally[np.arange(len(filled)), column] += 1
        best = tally.argmax(axis=1)
        found = [""] * cells
        for cell, system in zip(filled.tolist(), best.tolist(), strict=True):
            found[cell] = systems[system]
        return found

    def _density(
        self, lane: Lane, counts: _Array, hues: Sequence[Style], rows: Sequence[CellRow]
    ) -> None:
        eighths = len(RAMP) - 1
        peak = self._peak if lane.kind == "cpu" else int(counts.max())
        levels = heights(counts, peak, eighths * len(rows))
        for y, row in enumerate(reversed(rows)):
            for cell, level in enumerate(levels):
                if level > y * eighths:
                    row.chars[cell] = RAMP[min(level - y * eighths, eighths)]
                    row.styles[cell] = hues[cell]

    def _events(
        self,
        lane: Lane,
        counts: _Array,
        borders: _Array,
        hues: Sequence[Style],
        rows: Sequence[CellRow],
        blocked: _Array,
    ) -> None:
        """Single events, with labels if there is room: names above, arguments below.

        No label reaches into the cells that are ``blocked``.
        """
        filled = np.flatnonzero(counts).tolist()
        if not filled:
            return
        for cell in filled:
            sign = "│" if counts[cell] == 1 else "┃" if counts[cell] < 4 else "█"
            for row in rows:
                row.chars[cell], row.styles[cell] = sign, hues[cell]
        rooms = self._label_rooms(filled, blocked)
        single = [cell for cell, _, _ in rooms if counts[cell] == 1]
        texts = self._texts(lane.rows[borders[single]].astype(np.int64))
        labels = dict(zip(single, texts, strict=True))
        for cell, start, end in rooms:
            lines = labels.get(cell) or (f"{counts[cell]} events",)
            if len(rows) == 1:
                lines = (" ".join(line for line in lines if line),)
            for row, line in zip(rows, lines, strict=False):
                text = _cut(one_line(line[: 2 * end]), end - start)
                row.write(start if start > cell else end - len(text), text, hues[cell])

    def _label_rooms(self, filled: Sequence[int], blocked: _Array) -> list[tuple[int, int, int]]:
        """(cell, start, end): where to write the label of the event in a cell.

        That is after it, up to the next one; for the last event before a jump, it is before it.
        """
        rooms = []
        bounds = np.flatnonzero(blocked).tolist()
        for i, cell in enumerate(filled):
            end = filled[i + 1] - 1 if i + 1 < len(filled) else self._scale.cells
            start = filled[i - 1] + 1 if i else 0
            place = bisect_left(bounds, cell)
            if place:
                start = max(start, bounds[place - 1] + 1)
            if cell in self._jump_cells:
                rooms.append((cell, start, cell))
            elif i + 1 < len(filled) and filled[i + 1] in self._jump_cells:
                continue  # the label of that one goes there
            else:
                jumps = (jump for jump in self._jump_cells if cell < jump < end)
                end = next(jumps, end)
                rooms.append((cell, cell + 1, min([end, *bounds[place : place + 1]])))
        return [room for room in rooms if room[2] - room[1] >= _SHORTEST]

    def _texts(self, rows: _Array) -> list[tuple[str, ...]]:
        """The labels of events: their names and arguments."""
        if not len(rows):
            return []
        table = self._recording.table(rows)
        names, arguments = table["event"].to_pylist(), table["args"].to_pylist()
        switches = [i for i, name in enumerate(names) if name == SWITCH]
        fields = self._recording.fields(rows[switches]) if switches else []
        nexts = {i: f.get("next_comm") for i, f in zip(switches, fields, strict=True)}
        texts = list[tuple[str, ...]]()
        for i, (name, args) in enumerate(zip(names, arguments, strict=True)):
            short = name.partition(":")[2]
            if name.startswith(_WORDY):
                texts.append((args.strip(), ""))
            elif nexts.get(i):
                texts.append((short, f"→ {nexts[i]}"))
            else:
                texts.append((short, args))
        return texts

    def _matches(self, lane: Lane, rows: Sequence[CellRow]) -> None:
        """Highlight the cells with matches of the search (with a sample, if very many)."""
        matches = self._state.model.matches
        first, last = among(matches, self.edges[[0, -1]]).tolist()
        matched = matches[first : last : (last - first) // _MOST_MATCHES + 1]
        if not len(matched) or not len(lane.rows):
            return
        places = np.minimum(among(lane.rows, matched), len(lane.rows) - 1)
        cells = np.searchsorted(self.edges, matched[lane.rows[places] == matched], "right") - 1
        style = Style(color=self._look.match.bgcolor, bold=True, underline=True)
        for cell in np.unique(cells).tolist():
            for row in rows:
                row.styles[cell] += style

    # -- counters -----------------------------------------------------------------------------

    def _values(self, name: str, values: _Array, rows: Sequence[CellRow]) -> None:
        """Bars as high as the values, the highest of the window filling the lane; 0 is a line."""
        eighths, style = len(RAMP) - 1, self._look.of_task(name)
        levels = np.ceil(values * (eighths * len(rows)) / max(int(values.max()), 1)).astype(int)
        for cell, (value, level) in enumerate(zip(values.tolist(), levels.tolist(), strict=True)):
            if value == 0 and rows[-1].chars[cell] == " ":
                rows[-1].chars[cell], rows[-1].styles[cell] = "╌", self._look.dim
            for y, row in enumerate(reversed(rows)):
                if level > y * eighths:
                    row.chars[cell] = RAMP[min(level - y * eighths, eighths)]
                    row.styles[cell] = style

    # -- tasks --------------------------------------------------------------------------------

    def _tasks(self, lane: Lane, missing: Missing, row: CellRow) -> None:
        """The running task: its name in cells that it fills, elsewhere how busy the CPU is."""
        missing.draw_state(self._look, row)
        turns = turns_in(self._recording, lane, self._scale.times)
        if turns is None:
            row.write(0, "too many switches: zoom in", self._look.dim)
            return
        names = self._task_names(turns)
        styles = [self._look.of_task(name) for name in names]
        levels = np.ceil(turns.busy * (len(RAMP) - 1)).astype(int).tolist()
        known = (turns.task >= 0) & (turns.known >= _KNOWN)
        solid = known & (turns.busy >= _SOLID)
        for cell, task in enumerate(turns.task.tolist()):
            if not known[cell]:
                continue
            if solid[cell]:
                row.chars[cell], row.styles[cell] = " ", styles[task] + _REVERSE
            elif levels[cell]:
                row.chars[cell], row.styles[cell] = RAMP[levels[cell]], styles[task]
            else:
                row.chars[cell], row.styles[cell] = "╌", self._look.dim
        runs = np.where(solid, turns.task, -1)
        starts = np.flatnonzero(np.diff(runs, prepend=-2)).tolist()
        for start, end in zip(starts, [*starts[1:], len(runs)], strict=True):
            task = int(runs[start])
            if task >= 0 and end - start >= _SHORTEST:
                self._bar(row, start, end, styles[task])
                label = _cut(one_line(names[task]), end - start - 1)
                row.write(start + 1, label, styles[task] + _REVERSE)
        for start, end in missing.untold(known):
            if end - start >= len(_UNTOLD) + 2:
                row.write((start + end - len(_UNTOLD)) // 2, _UNTOLD, row.styles[start])

    def _task_names(self, turns: Turns) -> list[str]:
        boots = [boot.index for boot in self._recording.boots]
        comms = self._recording.comms
        return [
            comms[boots.index(boot)].get(pid, f"pid {pid}") if boot in boots else f"pid {pid}"
            for boot, pid in turns.tasks
        ]

    # -- spans --------------------------------------------------------------------------------

    def _spans(self, lane: Lane, rows: Sequence[CellRow]) -> None:
        for number, level in enumerate(lane.levels):
            self._level(
                rows[min(number, len(rows) - 1)], level.within(self._scale.start, self._scale.end)
            )

    def _level(self, row: CellRow, spans: Sequence[Span]) -> None:
        """Bars first, then the label of each where no other bar lies on it."""
        thin: dict[int, int] = {}
        owner = np.full(len(row.chars), -1, np.int64)
        wide: list[tuple[int, Span, Style]] = []
        for n, span in enumerate(spans):
            begin, end = self._scale.exact(span.start_ns), self._scale.exact(span.end_ns)
            first = max(math.floor(begin), 0)
            style = self._span_style(span)
            style = self._look.shade(style) if n % 2 else style
            if end - begin < 1:
                cell = min(first, len(row.chars) - 1)
                thin[cell] = thin.get(cell, 0) + 1
                row.write(cell, EIGHTHS[min(thin[cell], 8)], style)
                owner[cell] = -1
                continue
            last = min(math.ceil(end), len(row.chars))
            owner[first:last] = n
            if span.kind == "dark":
                row.fill(first, last, "░", self._look.dark)
            else:
                self._bar(row, first, last, style)
            wide.append((n, span, style))
        for n, span, style in wide:
            mine = np.flatnonzero(owner == n)
            if len(mine):
                self._name(row, span, style, int(mine[0]), _run(mine))

    def _name(self, row: CellRow, span: Span, style: Style, first: int, cells: int) -> None:
        """Write what a bar is, into its first free run of cells."""
        if span.kind == "dark":
            text = f" {span.label} {duration(span.end_ns - span.start_ns)} "
            row.write(first + 1, _cut(one_line(text), cells - 1), self._look.dark)
        else:
            text = _cut(one_line(self._span_label(span, cells)), cells - 1)
            row.write(first + 1, text, style + _REVERSE)

    def _span_label(self, span: Span, room: int) -> str:
        """The label, with how long it took if that fits."""
        took = "never returned" if span.open else duration(span.end_ns - span.start_ns)
        text = f"{span.label} {took}"
        return text if len(text) + 2 <= room else span.label

    def _bar(self, row: CellRow, start: int, end: int, style: Style) -> None:
        """A bar; without colours its edge and the reversed cells show it."""
        row.fill(start, end, " ", style + _REVERSE)
        row.write(start, "▏", style + _REVERSE)

    def _span_style(self, span: Span) -> Style:
        look = self._look
        if span.open:
            return look.bad
        if span.kind == "phase":
            return look.hues[span.boot % len(look.hues)]
        return look.hue("device") if span.kind == "device" else look.of_task(span.kind)
