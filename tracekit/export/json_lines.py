"""Events as JSON, one object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tracekit.documents import SCHEMA, as_hex, exact
from tracekit.ftrace.print_fmt.addresses import address_fields
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import EventKind
from tracekit.timeline.when.dates import utc

__all__ = ["json_blocks"]

_ROWS = 1 << 12  # at a time: objects take their memory
_Fields = Mapping[str, Any]


def _arguments(recording: Recording, kind: EventKind) -> Callable[[_Fields], _Fields]:
    """What an event's typed arguments become: addresses and large numbers are strings."""
    fmt = recording.boot(kind.boot).format(kind.id)
    wide = {f.name: exact for f in fmt.fields if max(f.size, f.element) >= 8} if fmt else {}
    shown = {**wide, **dict.fromkeys(address_fields(fmt) if fmt else (), as_hex)}
    if not shown:
        return lambda typed: typed
    return lambda typed: {
        name: shown[name](value) if name in shown else value for name, value in typed.items()
    }


def _wall_time(recording: Recording, row: Mapping[str, Any]) -> dict[str, Any]:
    wall = recording.walls.get(row["boot"])
    time = None if wall is None else utc(row["ts_ns"] + wall.offset_ns)
    return {"time": time, "time_error_ns": None if wall is None else wall.error_ns}


def json_blocks(recording: Recording, wanted: Filter, *, wall: bool = False) -> Iterator[bytes]:
    """One object per event: the timeline's columns, and ``fields`` with typed arguments.

    ``wall``: with ``time`` (UTC) and ``time_error_ns``, None where they are unknown.
    """
    arguments = [_arguments(recording, kind) for kind in recording.kinds]
    for rows, table in recording.batches(wanted, size=_ROWS):
        kinds = recording.rows.kind[rows].tolist()
        lines = []
        for kind, row, typed in zip(kinds, table.to_pylist(), recording.fields(rows), strict=True):
            row["ts_raw"] = exact(row["ts_raw"])
            time = _wall_time(recording, row) if wall else {}
            line = {"schema": SCHEMA, **row, **time, "fields": arguments[kind](typed)}
            lines.append(json.dumps(line, default=_jsonable))
        yield "".join(f"{line}\n" for line in lines).encode()


def _jsonable(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes) else str(value)
