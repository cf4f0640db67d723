"""DuckDB over a session's tables: it reads them where they are, and nothing else."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tracekit.errors import UsageError
from tracekit.recording import Recording
from tracekit.sql.tables import Tables

if TYPE_CHECKING:
    import duckdb

__all__ = ["Database", "need_duckdb", "quoted"]

# Neither files nor the network: a query sees the session, and no extension is fetched or loaded.
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "enable_external_access": "false",
}
_RESERVED = (
    "all analyse analyze and any array as asc asymmetric both case cast check collate column "
    "constraint create default deferrable desc describe distinct do else end except false fetch "
    "for foreign from group having in initially intersect into lambda lateral leading limit not "
    "null offset on only or order pivot placing primary qualify references returning select show "
    "some summarize symmetric table then to trailing true union unique unpivot using variadic "
    "when where window with"
)
_MISSING = re.compile(r"Table with name (.+?) does not exist")
_COUNT = re.compile(r"\bcount\s*\(\s*\*\s*\)", re.IGNORECASE)
_ARGS = re.compile(r"\bargs\b|\*", re.I)
_TABLE = re.compile(r"(?:\bfrom|\bjoin|,)\s*(?:events\b|\"events\")", re.I)
_CATALOG = re.compile(
    r"\b(?:show|describe|summarize|pragma|\w*_schema|duckdb_\w+|sqlite_\w+)\b", re.I
)


def need_duckdb() -> None:
    """Raise :class:`~tracekit.errors.UsageError` where DuckDB is not installed."""
    try:
        import duckdb  # noqa: F401
    except ImportError:
        raise UsageError("sql needs DuckDB: pip install 'kexec-tracekit[sql]'") from None


class Database:
    """A connection whose tables are those of a session; each is made when a query names it."""

    def __init__(self, recording: Recording) -> None:
        """Raises :class:`~tracekit.errors.UsageError` where DuckDB is not installed."""
        need_duckdb()
        import duckdb

        self.tables = Tables(recording)
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(":memory:", config=_LOCKED)
        self._connection.sql("SET lock_configuration = true")
        self._known: set[str] = set()

    def run(self, query: str) -> pa.Table | None:
        """The result of the query, of several the last one's; None if it has none.

        Raises :class:`~tracekit.errors.UsageError` with DuckDB's message.
        """
        import duckdb

        self._offer(query)
        try:
            result = self._connection.sql(query)
            return None if result is None else result.to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(self._explained(str(error).strip())) from error

    def _explained(self, message: str) -> str:
        """DuckDB's message; of a table that is not there, with those of the session in mind."""
        missing = _MISSING.search(message)
        close = get_close_matches(missing[1], self.tables.names, 3) if missing else []
        if not close:
            return message
        return f"Catalog Error: no table {missing[1] if missing else ''}: did you mean " + (
            " or ".join(map(quoted, close)) + "?"
        )

    def _offer(self, query: str) -> None:
        """Register the tables that the query may mean: those whose names are in it."""
        text = query.casefold()
        every = _CATALOG.search(query) is not None
        for name in self.tables.names:
            if name != "events" and name not in self._known and (every or name.casefold() in text):
                self._register(name, self.tables.table(name))
        if every or "events" in text:
            args = every or _needs_args(query)
            key = f"events/{args}"
            if key not in self._known and "events/True" not in self._known:
                self._register("events", self.tables.table("events", args=args), key)

    def _register(self, name: str, table: pa.Table, key: str = "") -> None:
        self._connection.register(name, table)
        self._known.add(key or name)

    def words(self) -> list[str]:
        """What completes in a query: tables (quoted where they must be) and their columns."""
        names = [quoted(name) for name in self.tables.names]
        columns: dict[str, Any] = {}
        for name in [n for n in self.tables.names if n not in self.tables.events]:
            columns.update(dict.fromkeys(self.tables.columns(name)))
        return [*names, *columns]


def _needs_args(query: str) -> bool:
    """Whether a query of ``events`` may ask for the arguments as text, which take time to render.

    It does not where it selects columns by name, and names the table only to select from it.
    """
    text = query.casefold()
    if _ARGS.search(_COUNT.sub("", query)) or "select" not in text:
        return True
    return len(re.findall(r"\bevents\b", text)) > len(_TABLE.findall(query))


def quoted(name: str) -> str:
    """The name as SQL takes it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _RESERVED.split()
    return name if plain else '"' + name.replace('"', '""') + '"'
