"""``x``: exports what is shown as CSV, Parquet, a trace, or a picture; the report as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from tracekit.errors import SourceError, TracekitError
from tracekit.export.files import write_csv, write_parquet, write_rows, write_text
from tracekit.query.selection import among
from tracekit.text import duration, printable
from tui.dialogs import whole_files
from tui.host import Host
from tui.jobs import Job, start
from tui.model import Model
from tui.view import View

__all__ = ["ExportDialog", "ExportRequest", "export"]

JOB = "exporting"
_FORMS = {
    "csv": "CSV; named .gz or .zst it is compressed",
    "parquet": "Parquet",
    "pftrace": "Perfetto, of the events that are shown",
    "dat": "trace.dat for trace-cmd, of one whole boot",
    "html": "HTML page of the report",
    "svg": "SVG picture of the screen",
}
_WHOLE = frozenset(("dat", "html", "svg"))  # nothing of them is chosen by what is shown
_Table = tuple[str, list[dict[str, object]]]
_ENDINGS = (".tar.zst", ".tar.gz", ".tar")


@dataclass(frozen=True)
class ExportRequest:
    """``what``: ``shown`` (all events that are shown), those of the ``window``, or the ``table``.

    ``form`` is a key of ``_FORMS``.
    """

    what: str
    form: str
    path: Path


def rows_in_window(model: Model) -> npt.NDArray[Any] | range:
    """The shown rows in the timeline's window, ascending."""
    first, last = np.searchsorted(model.ts_ns, np.array(model.window, np.int64)).tolist()
    rows = model.selection.rows
    if rows is None:
        return range(first, last)
    ends = among(rows, [first, last])
    return rows[ends[0] : ends[1]]


def _default(session: Path, form: str, what: str) -> Path:
    """A name in the working directory that does not exist yet."""
    name = session.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    stem = f"{name or 'session'}-{what}"
    names = (f"{stem}{f'-{n}' if n else ''}.{form}" for n in range(10_000))
    return next((Path(n) for n in names if not Path(n).exists()), Path(f"{stem}.{form}"))


class Choice(Static, can_focus=True):
    """Radio buttons, one per line; up and down choose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k,left", "choose(-1)", show=False),
        Binding("down,j,right,space", "choose(1)", show=False),
    ]

    class Changed(Message):
        """Another one is chosen."""

    def __init__(self, texts: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self._texts = [printable(text).replace("\n", " ") for text in texts]
        self.at = 0

    def render(self) -> Text:
        """The lines."""
        signs = ("(•)" if n == self.at else "( )" for n in range(len(self._texts)))
        lines = (f"{sign} {text}" for sign, text in zip(signs, self._texts, strict=True))
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def action_choose(self, by: int) -> None:
        """Choose the next one, or the one before."""
        self._choose((self.at + by) % len(self._texts))

    def on_click(self, event: events.Click) -> None:
        """Choose the one that was clicked."""
        if event.y < len(self._texts):
            self._choose(event.y)

    def _choose(self, number: int) -> None:
        self.at = number
        self.refresh()
        self.post_message(self.Changed())


class ExportDialog(ModalScreen[ExportRequest | None]):
    """Asks what, how and where to; dismissed with the request, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+s", "write", "Write"),
    ]

    def __init__(self, model: Model, session: Path, table: _Table | None) -> None:
        super().__init__()
        self._model, self._session, self._table = model, session, table
        self._whats = ["shown", "window"] if table is None else ["table", "shown", "window"]
        self._form, self._what = "csv", self._whats[0]
        self._confirmed: Path | None = None  # the file that may be overwritten

    def compose(self) -> ComposeResult:
        model = self._model
        shown = f"the events that are shown: {len(model.selection):,}"
        if model.where:
            shown += f", {model.where}"
        span = duration(model.window[1] - model.window[0])
        window = f"of these, the timeline's {span}: {len(rows_in_window(model)):,}"
        texts = [shown, window]
        if self._table is not None:
            texts = [f"the table {self._table[0]}: {len(self._table[1]):,} rows", *texts]
        with Vertical(classes="dialog", id="export"):
            yield Label(Text("Export"))
            yield Choice(texts, id="export-what")
            yield Choice(list(_FORMS.values()), id="export-form")
            yield Input(id="export-path", value=str(self._suggestion()))
            yield Label(id="export-folder")
            yield Label(Text(self._help), id="export-note")

    _help = "tab, ↑ ↓ choose   enter writes   esc does not"

    def on_mount(self) -> None:
        """Focus the name: it is what changes most often."""
        self.query_one("#export-path").focus()
        self._show_folder()

    def _show_folder(self) -> None:
        """Say where the file goes: a long path does not fit into its line."""
        text = self.query_one("#export-path", Input).value.replace("\0", "")
        folder = Path(text).expanduser().parent.absolute()
        self.query_one("#export-folder", Label).update(Text(f"in {printable(str(folder))}"))

    def _suggestion(self) -> Path:
        what = "filtered" if self._model.where else "events"
        if self._form in _WHOLE:
            boot = self._model.boot_at_cursor
            what = {"dat": f"boot-{boot}", "html": "report", "svg": "screen"}[self._form]
        elif self._what == "table" and self._table is not None and self._form != "pftrace":
            what = self._table[0].lower()
        return _default(self._session, self._form, what)

    def on_choice_changed(self) -> None:
        """Suggest a name for the new choice, unless the user typed one."""
        field = self.query_one("#export-path", Input)
        suggested = field.value == str(self._suggestion())
        path = Path(field.value)
        old, self._form = self._form, list(_FORMS)[self.query_one("#export-form", Choice).at]
        self._what = self._whats[self.query_one("#export-what", Choice).at]
        if suggested:
            field.value = str(self._suggestion())
        elif path.suffix == f".{old}":
            field.value = str(path.with_suffix(f".{self._form}"))
        self.query_one("#export-what").disabled = self._form in _WHOLE

    def on_input_changed(self) -> None:
        """A changed name has to be confirmed again."""
        self._confirmed = None
        self._show_folder()
        self._say(self._help)

    def on_input_submitted(self) -> None:
        """Write it."""
        self.action_write()

    def action_write(self) -> None:
        """Dismiss with the request; overwriting a file has to be confirmed."""
        text = self.query_one("#export-path", Input).value
        if not text or "\0" in text:
            self._say("name a file")
            return
        path = Path(text).expanduser()
        if path.is_dir():
            self._say("that is a directory: name a file in it")
        elif path.exists() and path != self._confirmed:
            self._confirmed = path
            self._say("there is such a file: enter once more replaces it")
        else:
            self.dismiss(ExportRequest(self._what, self._form, path))

    def action_cancel(self) -> None:
        """Write nothing."""
        self.dismiss(None)

    def _say(self, text: str) -> None:
        self.query_one("#export-note", Label).update(Text(text))


def export(host: Host, model: Model, view: View) -> None:
    """Ask what of ``view`` to export, and do it; cancels an export that is still running."""
    if not host.may_export:
        host.say("no export from here: 'tracekit show --web --allow-export' allows it")
        return
    if any(worker.group == JOB and not worker.is_finished for worker in host.workers):
        host.workers.cancel_group(host, JOB)
        host.show_progress(JOB, 1, 1)
        host.say("the export was ended: nothing was written")
        return

    table = view.shown_table()

    def answered(request: ExportRequest | None) -> None:
        if request is None:
            return
        if request.form == "svg":
            host.call_after_refresh(_picture, host, request.path)
        elif request.form not in ("csv", "parquet"):
            _run(host, model, request)
        elif request.what == "table" and table is not None:
            _write_table(host, table[1], request)
        else:
            _write(host, model, request, view.shown_order())

    host.push_screen(ExportDialog(model, host.path, table), answered)


def _picture(host: Host, path: Path) -> None:
    try:
        write_text(host.export_screenshot(), path, "svg")
    except TracekitError as error:
        host.notify(str(error), severity="error", markup=False)
    else:
        host.say(f"{path}: the screen as it was")


def _write_table(host: Host, rows: list[dict[str, object]], request: ExportRequest) -> None:
    def work(_: Job) -> int:
        return write_rows(rows, _checked(request.path), parquet=request.form == "parquet")

    start(host, JOB, work, lambda count: host.say(f"{request.path}: {count:,} rows"))


def _run(host: Host, model: Model, request: ExportRequest) -> None:
    """Have another process write a trace or the page: they are made of the whole session."""
    window = model.window if request.what == "window" else None
    if request.form == "pftrace":
        words = whole_files.trace_of(host.path, request.path, model.where, window)
    elif request.form == "dat":
        words = whole_files.trace_dat_of(host.path, request.path, model.boot_at_cursor)
    else:
        words = whole_files.page_of(host.path, request.path)

    def work(job: Job) -> None:
        _checked(request.path)
        host.call_from_thread(host.say, f"writing {request.path}: x ends it")
        whole_files.run(job, words)

    start(host, JOB, work, lambda _: host.say(f"{request.path} is written"))


def _checked(path: Path) -> Path:
    if not path.parent.is_dir():
        raise SourceError(f"{path.parent}: there is no such directory")
    return path


def _write(
    host: Host, model: Model, request: ExportRequest, order: npt.NDArray[Any] | None
) -> None:
    window = request.what == "window"
    shown = rows_in_window(model) if window else model.selection.rows if order is None else order
    write = write_csv if request.form == "csv" else write_parquet

    def work(job: Job) -> int:
        rows = shown if isinstance(shown, np.ndarray) else _row_numbers(shown, model.total)
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            job.step(done, len(rows))

        return write(model.recording, _checked(request.path), rows, advance)

    def then(rows: int) -> None:
        host.say(f"{request.path}: {rows:,} events")

    start(host, JOB, work, then)


def _row_numbers(rows: range | None, total: int) -> npt.NDArray[Any]:
    """A range of rows (None: all) as an array."""
    every = range(total) if rows is None else rows
    return np.arange(every.start, every.stop, dtype=np.uint32)
