"""Makes the tables of one event from several kernels fit together."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.arrow import pa

__all__ = ["unify"]


def unify(parts: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with unifiable types; arguments without a common type become text."""
    odd = []
    for name in {name: None for part in parts for name in part.column_names}:
        kinds = [pa.schema([p.schema.field(name)]) for p in parts if name in p.column_names]
        try:
            pa.unify_schemas(kinds, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            odd.append(name)
    return [_with_texts(part, odd) for part in parts]


def _with_texts(part: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        if name in part.column_names:
            values = (None if v is None else str(v) for v in part[name].to_pylist())
            position = part.column_names.index(name)
            part = part.set_column(position, name, pa.array(values, pa.string()))
    return part
