"""What the commands of this package share: the selection, and tables as text, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tracekit.cli.common import clean_console, say, show_json, working
from tracekit.cli.filters import build_filter, filter_options
from tracekit.errors import UsageError
from tracekit.text import duration, on_one_line, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from tracekit.recording import Recording
    from tracekit.timeline.filter import Filter

__all__ = ["Column", "Selected", "form_options", "print_table", "selected", "selection_options",
           "sorted_by", "time_option"]  # fmt: skip

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE_WIDTH = 200

_PHASE = click.option(
    "--phase", metavar="NAME", help="Only what lies in the phase of that name in the report."
)
_FORMS = (
    click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts; times are ns."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV; times are ns."),
    click.option(
        "--most", type=click.IntRange(0), default=20, show_default=True, metavar="N",
        help="As text: so many rows, 0 for all.",
    ),
)  # fmt: skip


def selection_options(command: _F) -> _F:
    """Adds the options that choose events, and ``--phase``."""
    return filter_options(_PHASE(command))


def form_options(command: _F) -> _F:
    """Adds ``--json``, ``--csv`` and ``--most``."""
    for option in reversed(_FORMS):
        command = option(command)
    return command


def time_option(text: str | None) -> int | None:
    """A length of time from the command line, ns; None where it was not given."""
    from tracekit.timeline.filter import parse_time

    if text is None:
        return None
    ns = parse_time(text)
    if ns <= 0:
        raise UsageError(f"{text!r} is no length of time: write 10ms, 1.5s")
    return ns


class Selected(NamedTuple):
    """A session and what of it was asked for."""

    recording: Recording
    wanted: Filter


def _phase(recording: Recording, name: str, wanted: Filter) -> Filter:
    """The filter within a phase; :class:`UsageError` where there is none, or it has no time."""
    from tracekit.named import stretches

    phases = [
        p for p in stretches(recording.report()) if not wanted.boots or p.boot in wanted.boots
    ]
    mine = [p for p in phases if p.name.casefold() == name.casefold()]
    mine = mine or [p for p in phases if p.name.casefold().startswith(name.casefold())]
    if not mine:
        there = ", ".join(dict.fromkeys(p.name for p in phases)) or "none"
        raise UsageError(f"--phase {name!r}: the report has: {there}")
    if len({p.name for p in mine}) > 1:
        raise UsageError(f"--phase {name!r} may be {', '.join(p.name for p in mine)}: say which")
    last = mine[-1]  # of several handovers the last
    if last.begin is None or last.end is None:
        raise UsageError(f"--phase {last.name!r} was not observed: nothing tells when it was")
    return replace(wanted, since=last.begin, until=last.end)


@contextmanager
def selected(session: str, phase: str | None, filters: dict[str, Any]) -> Iterator[Selected]:
    """Open a session; what was not recorded and so is not in the answer is said at the end."""
    wanted = build_filter(**filters)
    if phase and (wanted.since is not None or wanted.until is not None):
        raise UsageError("--phase is a window by itself: leave out --from and --to")
    from tracekit.browse.open import open_events

    with working("decoding"):
        recording = open_events(session, lambda what, share: None)
        wanted = _phase(recording, phase, wanted) if phase else recording.resolved(wanted)
    yield Selected(recording, wanted)
    untimed = [b for b in recording.boots if b.index in recording.axis.clocks
               and not recording.axis.timed(b.index)]  # fmt: skip
    for boot in untimed:
        say(f"boot {boot.index}: its clock does not count time; times are unknown")


class Column(NamedTuple):
    """A column of a printed table: its heading, and the name and kind of what is in it.

    ``kind``: ``text``, ``count``, ``rate`` (a second), ``time`` (a length) or ``at`` (an instant).
    """

    heading: str
    name: str
    kind: str = "time"


def sorted_by(table: pa.Table, column: str) -> pa.Table:
    """The rows, the largest first, nulls last; names by the alphabet."""
    if column != "name":
        return table.sort_by([(column, "descending")])
    names = table["name"].to_pylist()
    return table.take(sorted(range(len(names)), key=names.__getitem__))


def print_table(
    table: pa.Table, columns: Sequence[Column], *, as_json: bool, as_csv: bool, most: int,
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Print a table; JSON is ``about`` and the rows with every column that it has."""
    if as_json and as_csv:
        raise UsageError("--json or --csv, not both")
    if as_json:
        show_json({**about, "rows": table.to_pylist()})
    elif as_csv:
        _write_csv(table.select([n for n in table.column_names if n != "histogram"]))
    else:
        _write_text(table, columns, most)


def _write_csv(table: pa.Table) -> None:
    from tracekit.export.cells import guarded

    clean = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow([clean(guarded(v)) if isinstance(v, str) else v for v in row])


def _write_text(table: pa.Table, columns: Sequence[Column], most: int) -> None:
    from rich.text import Text

    from tracekit.cli.printed.table import PlainTable

    if not len(table):
        say("nothing of that kind is in the selection")
        return
    printed = PlainTable(*((head, "c" if kind == "text" else "n") for head, _, kind in columns))
    shown = table.slice(0, most) if most else table
    for row in shown.to_pylist():
        printed.add_row(*(Text(_cell(row[name], kind)) for _, name, kind in columns))
    console = clean_console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(printed)
    if len(shown) < len(table):
        say(f"… and {len(table) - len(shown):,} more: --most 0 prints all")


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return "-"
    if kind == "time":
        return duration(value)
    if kind == "at":
        return f"{value / 1e9:.6f}"
    if kind == "rate":
        return f"{value:,.1f}"
    return f"{value:,}" if kind == "count" else on_one_line(str(value))
