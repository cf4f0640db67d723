"""DuckDB over a fleet's dataset: its tables, and nothing else of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tracekit.errors import SourceError, UsageError
from tracekit.fleet.dataset import Dataset
from tracekit.fleet.tables import PARTITIONS, TABLES

if TYPE_CHECKING:
    import duckdb

__all__ = ["Fleet"]

_MEMORY = "768MB"  # of DuckDB: a question takes less than 1 GiB
_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN",
          "uint8": "UTINYINT", "uint16": "USMALLINT", "list<item: string>": "VARCHAR[]",
          "list<element: string>": "VARCHAR[]"}  # fmt: skip


def _text(value: str) -> str:
    """A string as SQL takes it."""
    return "'" + value.replace("'", "''") + "'"


def _literal(name: str) -> str:
    """A file's name as DuckDB takes it, which reads names as patterns."""
    return re.sub(r"[*?[]", r"[\g<0>]", name)


def _listed(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"


class Fleet:
    """A connection with a view a table; see :mod:`tracekit.fleet.tables` for their columns."""

    def __init__(self, dataset: Dataset, *, threads: int | None = None) -> None:
        """Raises :class:`~tracekit.errors.UsageError` where DuckDB is not installed."""
        try:
            import duckdb
        except ImportError:
            raise UsageError("this needs DuckDB: pip install 'kexec-tracekit[fleet]'") from None
        self.dataset = dataset
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(":memory:")
        place, run = dataset.place, self._connection.execute
        if place.filesystem is not None:
            self._connection.register_filesystem(place.filesystem)
        run(f"SET memory_limit = '{_MEMORY}'")
        run("SET temp_directory = ''")
        if threads is not None:
            run(f"SET threads = {threads}")
        folders = [place.url(""), _literal(place.url(""))]
        run("SET autoinstall_known_extensions = false")
        run("SET autoload_known_extensions = false")
        run(f"SET allowed_directories = {_listed(folders)}")
        run("SET enable_external_access = false")
        run("SET lock_configuration = true")
        doubles = dataset.doubles()
        try:
            for table in TABLES:
                run(f"CREATE VIEW {table} AS {self._view(table, doubles)}")
        except duckdb.Error as error:
            raise self._unreadable(error) from error

    # -- the views ----------------------------------------------------------------------------

    def _view(self, table: str, doubles: dict[str, list[int]]) -> str:
        if table == "sums" and doubles:
            return _SUMS  # of the rows, as those of files that count in part are no use
        files = self.dataset.files(table)
        whole = [f for i, names in files.items() if i not in doubles for f in names]
        parts = [self._read(table, whole)] if whole else []
        for identity, keys in doubles.items():
            if files.get(identity):
                left_out = ", ".join(map(str, keys))
                some = self._read(table, files[identity])
                parts.append(f"SELECT * FROM ({some}) WHERE handover NOT IN ({left_out})")
        return " UNION ALL ".join(parts) or self._nothing(table)

    def _read(self, table: str, names: Sequence[str]) -> str:
        urls = _listed(_literal(self.dataset.place.url(name)) for name in names)
        columns = ", ".join(f'"{name}"' for name in (*TABLES[table].names, *PARTITIONS))
        return (f"SELECT {columns} FROM read_parquet({urls}, hive_partitioning = true, "
                "hive_types_autocast = false)")  # fmt: skip

    @staticmethod
    def _nothing(table: str) -> str:
        """A view of that shape without rows."""
        fields = [(f.name, _TYPES[str(f.type)]) for f in TABLES[table]]
        fields += [(name, "VARCHAR") for name in PARTITIONS]
        nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in fields)
        return f"SELECT {nulls} WHERE false"

    # -- questions ----------------------------------------------------------------------------

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a question of this package's own."""
        rows: list[dict[str, Any]] = self.table(query, values).to_pylist()
        return rows

    def table(self, query: str, values: Sequence[Any] = ()) -> pa.Table:
        """The same as an Arrow table.

        Raises :class:`~tracekit.errors.SourceError` where a file of the dataset cannot be read.
        """
        import duckdb

        try:
            return self._connection.sql(query, params=list(values)).to_arrow_table()
        except duckdb.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.dataset.place.shown}: a file of it is damaged, or was replaced by 'fleet "
            f"compact' meanwhile: ask again: {str(error).strip()}"
        )

    def run(self, query: str) -> pa.Table | None:
        """The result of a user's query, of several the last one's; None if it has none.

        Raises :class:`~tracekit.errors.UsageError` with DuckDB's message; statements that would
        write files are refused.
        """
        import duckdb

        writing = {duckdb.StatementType.COPY, duckdb.StatementType.EXPORT,
                   duckdb.StatementType.ATTACH}  # fmt: skip
        try:
            result: duckdb.DuckDBPyRelation | None = None
            for statement in self._connection.extract_statements(query):
                if statement.type in writing:
                    raise UsageError("a query reads the fleet; -o FILE writes its result")
                result = self._connection.sql(statement)
            return None if result is None else result.to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(str(error).strip()) from error


def _sums_of(kind: str, table: str) -> str:
    return (
        f"SELECT '{kind}' AS kind, name, count(*) AS handovers, count(duration_ns) AS timed, "
        "sum(duration_ns)::BIGINT AS total_ns, max(duration_ns) AS longest_ns, "
        f"arg_max(handover, duration_ns) AS worst, kernel, date FROM {table} "
        "GROUP BY name, kernel, date"
    )


_SUMS = " UNION ALL ".join(
    _sums_of(kind, table)
    for kind, table in (("phase", "phases"), ("device", "devices"), ("initcall", "initcalls"),
                        ("unit", "units"))
)  # fmt: skip
