"""The prompt of ``tracekit sql SESSION``: lines are read until a statement is whole.

The words of the session complete with Tab, and what was typed is kept for the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from tracekit.errors import TracekitError
from tracekit.sql.database import Database, quoted

__all__ = ["HELP", "Prompt"]

HELP = """\
A query ends with a semicolon. Tab completes tables, columns and words of SQL.
  .tables          the tables, and the view of each event
  .schema NAME     the columns of a table
  .help, .quit     this; leave (also Ctrl-D)"""
_WORDS = (
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "ASOF JOIN", "USING",
    "HAVING", "WITH", "DISTINCT", "BETWEEN", "DESC", "count(*)", "sum(", "avg(", "quantile_cont(",
    "DESCRIBE", "SUMMARIZE",
)  # fmt: skip
_COMMANDS = (".tables", ".schema", ".help", ".quit")
_KEPT = 1000  # lines of history


def _history() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    state = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return state / "tracekit" / "sql_history"


class Prompt:
    """Reads statements and gives their results to ``show``; errors go to ``say``."""

    def __init__(
        self,
        database: Database,
        show: Callable[[pa.Table], None],
        say: Callable[[str], None],
        read: Callable[[str], str] = input,
    ) -> None:
        self._database, self._show, self._say, self._read = database, show, say, read
        self._words: list[str] = []

    def run(self) -> None:
        """Until the end of input."""
        pending = ""
        while True:
            try:
                line = self._read("sql> " if not pending else "...> ")
            except EOFError:
                return
            except KeyboardInterrupt:
                self._say("")
                pending = ""
                continue
            if not pending and line.strip().startswith("."):
                if not self._command(line.strip()):
                    return
                continue
            pending += f"{line}\n" if pending or line.strip() else ""
            if pending.rstrip().endswith(";"):
                self._ask(pending)
                pending = ""

    def _ask(self, query: str) -> None:
        try:
            result = self._database.run(query)
        except TracekitError as error:
            self._say(str(error))
        except KeyboardInterrupt:
            self._say("interrupted")
        else:
            if result is not None:
                self._show(result)

    def _command(self, line: str) -> bool:
        """Whether to go on."""
        word, _, name = line.partition(" ")
        tables = self._database.tables
        if word in (".quit", ".exit", ".q"):
            return False
        if word == ".tables":
            for table in tables.names:
                self._say(f"{quoted(table)}{_about(tables.events.get(table), table)}")
        elif word == ".schema" and name.strip().strip('"') in tables.names:
            table = tables.table(name.strip().strip('"'), args=False)
            for column in table.schema:
                self._say(f"  {column.name}  {column.type}")
        else:
            known = word in (".schema", ".help")
            self._say("no such table: see .tables" if known and name else HELP)
        return True

    # -- the line that is typed ----------------------------------------------------------------

    def completions(self, text: str) -> list[str]:
        """The words that ``text`` begins, ignoring case."""
        if not self._words:
            self._words = [*_COMMANDS, *_WORDS, *self._database.words()]
        start = text.casefold()
        return [word for word in self._words if word.casefold().startswith(start)]

    def with_line_editing(self) -> None:
        """Completion and history by readline, where Python has it, then :meth:`run`."""
        try:
            import readline
        except ImportError:
            self.run()
            return
        file = _history()
        with suppress(OSError):
            readline.read_history_file(file)
        readline.set_history_length(_KEPT)
        readline.set_completer_delims(" \t\n,()=<>;")
        readline.set_completer(lambda text, state: _nth(self.completions(text), state))
        readline.parse_and_bind("tab: complete")
        try:
            self.run()
        finally:
            with suppress(OSError):
                file.parent.mkdir(0o700, parents=True, exist_ok=True)
                readline.write_history_file(file)
                file.chmod(0o600)


def _about(event: str | None, table: str) -> str:
    return "" if event is None or event == table else f"  ({event})"


def _nth(words: Iterable[str], number: int) -> str | None:
    return dict(enumerate(words)).get(number)
