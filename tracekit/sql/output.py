"""Results of queries as text and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from tracekit.documents import exact
from tracekit.export.cells import as_cells
from tracekit.export.targets import check_target, opened_target, replaced_file
from tracekit.text import on_one_line

__all__ = ["FORMATS", "Form", "form_of", "table_lines", "write"]

Form = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[Form, ...] = ("table", "csv", "json", "parquet")
_BY_SUFFIX: dict[str, Form] = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_BATCH = 1 << 12  # rows at a time
_MEASURED = 1000  # rows that the widths of columns are taken from
_WIDEST = 120  # characters of a column


def form_of(target: Path) -> Form | None:
    """The format that a file's name says; None where it says none."""
    name = target.name.lower().removesuffix(".gz").removesuffix(".zst")
    return _BY_SUFFIX.get(Path(name).suffix)


def _plain(table: pa.Table) -> pa.Table:
    """Times as texts to the nanosecond, so that reading them needs no pandas."""
    for number, column in enumerate(table.schema):
        if pa.types.is_temporal(column.type) and not pa.types.is_duration(column.type):
            table = table.set_column(number, column.name, table[number].cast(pa.string()))
    return table


def _value(value: Any) -> Any:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value.hex() if isinstance(value, bytes) else value


def _rows(table: pa.Table) -> Iterator[list[Any]]:
    """By columns, as two of them may have one name."""
    for batch in _plain(table).to_batches(max_chunksize=_BATCH):
        columns = [[_value(v) for v in column.to_pylist()] for column in batch.columns]
        yield from (list(row) for row in zip(*columns, strict=True))


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    return on_one_line(str(value).lower() if isinstance(value, bool) else str(value))


def table_lines(table: pa.Table) -> Iterator[str]:
    """Aligned columns below their names, numbers to the right; recorded texts escaped."""
    if not table.num_columns:
        return
    heads = [on_one_line(name) for name in table.column_names]
    right = [_is_number(field.type) for field in table.schema]
    rows = ([_shown(value) for value in row] for row in _rows(table))
    first = [row for _, row in zip(range(_MEASURED), rows, strict=False)]
    widths = [
        min(_WIDEST, max(len(text) for text in column))
        for column in zip(heads, *first, strict=True)
    ]

    def line(texts: list[str]) -> str:
        cells = zip(texts, widths, right, strict=True)
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in cells).rstrip()

    yield line(heads)
    yield "  ".join("─" * width for width in widths)
    yield from map(line, first)
    yield from map(line, rows)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _distinct(names: list[str]) -> list[str]:
    """The names, those that came before with a number behind: ``a``, ``a_2``."""
    made: list[str] = []
    for name in names:
        numbered = (f"{name}_{n}" for n in count(2))
        again = (n for n in numbered if n not in names and n not in made)
        made.append(next(again) if name in made else name)
    return made


def _json_lines(table: pa.Table, out: BinaryIO) -> None:
    names = _distinct(table.column_names)
    for row in _rows(table):
        values = zip(names, map(exact, row), strict=True)
        out.write(json.dumps(dict(values), default=str).encode() + b"\n")


def _csv(table: pa.Table, out: BinaryIO) -> None:
    import pyarrow.csv

    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            texts = [None if v is None else str(_value(v)) for v in table[number].to_pylist()]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    pyarrow.csv.write_csv(as_cells(_plain(table)), out)


def write(table: pa.Table, form: Form, target: Path) -> None:
    """Write a result into a file (``-``: standard output), compressed as its name says.

    CSV guards what a spreadsheet would run; JSON is an object a line. Raises
    :class:`~tracekit.errors.TracekitError`.
    """
    if form == "parquet":
        import pyarrow.parquet as pq

        check_target(target, "parquet")
        with replaced_file(target) as part:
            pq.write_table(table, part, compression="zstd")
        return
    with opened_target(target, form) as out:
        if form == "csv":
            _csv(table, out)
        elif form == "json":
            _json_lines(table, out)
        else:
            out.writelines(f"{line}\n".encode() for line in table_lines(table))
