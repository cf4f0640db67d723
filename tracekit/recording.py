"""A decoded session: its events, filters with expressions, and the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracekit.arrow import pa
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.spill import release
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter, chosen_of
from tracekit.timeline.rows import in_batches, numbers
from tracekit.timeline.when.dates import parse_date
from tracekit.timeline.when.moments import relative

if TYPE_CHECKING:  # slow to import, and events are shown without
    from tracekit.analysis.analysis import Analysis
    from tracekit.named import Named
    from tracekit.report.make import Report

__all__ = ["Recording"]

_Array = npt.NDArray[Any]
_CHUNK = 1 << 15  # rows rendered and written at a time


class Recording(Events):
    """What :func:`tracekit.open` returns; decoded when first asked for.

    ``timeline`` is all of it as one Arrow table; :meth:`table` gives a part of it,
    :meth:`batches` streams it, :meth:`event` has one event's arguments as typed columns, and
    :meth:`report` says where the time went. ``analysis`` is what is derived from the events.
    """

    #: The report where it is known before, as of a session that was indexed.
    reported: Report | None = None

    def selected(self, wanted: Filter) -> Iterator[_Array | slice]:
        """The rows that meet the filter, all but its ``grep``, some at a time, in order.

        A slice of the timeline, or which of one.
        """
        wanted = self.resolved(wanted)
        found = super().selected(wanted)
        if not wanted.where:
            yield from found
            return
        from tracekit.query.match import Matcher, Names, read

        matcher = Matcher(self, read(wanted.where, Names.of(self)))
        for rows in found:
            mask = matcher.at(rows)
            yield chosen_of(rows, mask) if isinstance(rows, slice) else rows[mask]

    def row_batches(self, wanted: Filter, size: int = _CHUNK) -> Iterator[_Array | slice]:
        """The rows that meet the filter, at most ``size`` at a time; adjacent ones as a slice."""
        if wanted.grep is not None:
            yield from (rows for rows, _ in self.batches(wanted, size=size))
            return
        for rows in in_batches(self.selected(wanted), size):
            yield rows
            release()

    def resolved(self, wanted: Filter) -> Filter:
        """The filter with the time in place of a name in ``since`` and ``until``.

        Names are those of phases, ``jump``, texts written to ``trace_marker`` and notes:
        ``since`` is where the first so called begins, ``until`` where the last ends.
        """
        since, until = (
            self._instant(text, wanted.boots, late=late)
            for text, late in ((wanted.since, False), (wanted.until, True))
        )
        return replace(wanted, since=since, until=until)

    def _instant(
        self, text: int | str | None, boots: frozenset[int], *, late: bool
    ) -> int | str | None:
        if not isinstance(text, str) or parse_date(text) is not None:
            return text
        from tracekit.named import instant

        ns = relative(text)
        return instant(text, self._names, boots, late=late) if ns is None else ns

    @cached_property
    def _names(self) -> list[Named]:
        from tracekit.named import names_of

        return names_of(self, self.report())

    def batches(
        self, wanted: Filter | None = None, *, args: bool = True, size: int = _CHUNK
    ) -> Iterator[tuple[_Array, pa.Table]]:
        """(row indices, table) of the events that meet the filter, at most ``size`` at a time."""
        wanted = wanted or Filter()
        for found in in_batches(self.selected(wanted), size):
            table = self.table(found, args=args or wanted.grep is not None)
            rows = numbers(found)
            if wanted.grep is not None:
                keep = self._grep(table, wanted)
                rows, table = rows[keep], table.filter(as_arrow(keep))
            yield rows, table
            release()

    def chosen(self, wanted: Filter) -> _Array:
        """Indices of the rows that meet the filter, in order, its ``grep`` too."""
        if wanted.grep is None:
            return self.select(wanted)
        parts = [rows for rows, _ in self.batches(wanted)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    @cached_property
    def analysis(self) -> Analysis:
        """Spans, states, wakeups, calls and statistics; see docs/python.md."""
        from tracekit.analysis.analysis import Analysis

        return Analysis(self, self.row_batches, self.resolved)

    @staticmethod
    def _grep(table: pa.Table, wanted: Filter) -> _Array:
        assert wanted.grep is not None
        event = table["event"].combine_chunks()
        args = table["args"].combine_chunks()
        names, texts = event.dictionary.to_pylist(), args.dictionary.to_pylist()
        pairs = np.stack([as_numpy(event.indices), as_numpy(args.indices)], axis=1)
        seen, where = np.unique(pairs, axis=0, return_inverse=True)
        hits = [wanted.grep.search(f"{names[e]} {texts[a]}") is not None for e, a in seen.tolist()]
        keep: _Array = np.array([*hits, False])[where.reshape(-1)]
        return keep

    def _repr_html_(self) -> str:
        """What Jupyter shows: the kernels; nothing is decoded for it."""
        from tracekit.notebook import html_table, html_text

        rows = [(boot.index, boot.release, boot.cpus or "") for boot in self.boots]
        path = html_text(self.session.path)
        about = "<code>report()</code>, <code>timeline</code>, <code>event(name)</code>"
        table = html_table(("boot", "kernel", "CPUs"), rows)
        return f"<p><b>Recording</b> {path}: {about}</p>{table}"

    def report(self, *, last_events: bool = True) -> Report:
        """The report: gap, blackout, phases, completeness."""
        if self.reported is not None:
            return self.reported
        from tracekit.report.make import make_report

        return make_report(self, last=last_events)
