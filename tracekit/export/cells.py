"""Texts as cells of CSV files: a spreadsheet runs a cell that begins as a formula does.

Such a text gets an apostrophe in front, and so does one whose apostrophes would be taken for that,
so that :func:`unguarded` gives every text back. Numbers, negative ones too, are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

__all__ = ["as_cells", "guarded", "unguarded"]

# What begins a formula, or is passed over before one, also in the full width of East Asian input.
_FORMULA = "'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_RUN = re.compile(_FORMULA)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def guarded(text: str) -> str:
    """The cell of a text: itself, or with an apostrophe in front."""
    return f"'{text}" if _RUN.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell that :func:`guarded` made."""
    return cell[1:] if cell.startswith("'") and _RUN.match(cell) else cell


def _texts(column: pa.ChunkedArray, clean: Callable[[str], str] | None) -> pa.Array:
    """A column of texts as plain strings; each distinct one is looked at once."""
    import pyarrow.compute as pc  # slow to import

    coded = column.combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    texts = coded.dictionary.cast(pa.string())
    if clean is not None or pc.any(pc.match_substring_regex(texts, f"^{_FORMULA}")).as_py():
        made = (None if text is None else guarded(text) for text in texts.to_pylist())
        cells = (text if text is None or clean is None else clean(text) for text in made)
        texts = pa.array(cells, pa.string())
    return pa.DictionaryArray.from_arrays(coded.indices, texts).cast(pa.string())


def as_cells(table: pa.Table, clean: Callable[[str], str] | None = None) -> pa.Table:
    """The table as CSV has it: texts guarded, without dictionaries. ``clean``: for a terminal."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        columns.append(_texts(column, clean) if is_text else column)
    return pa.table(columns, table.column_names)
