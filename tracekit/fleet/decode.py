"""A session as rows of the dataset: what a worker process does, here or on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

import tracekit
from tracekit.errors import TracekitError, explained
from tracekit.fleet.dataset import Added, Bad
from tracekit.fleet.tables import TABLES, handover_key, of_runs
from tracekit.recording import Recording
from tracekit.runs.run import Run, runs_of
from tracekit.session import Session

__all__ = ["Options", "decode", "decode_some"]

#: (host, host by folder, events, the fingerprints that are there already)
Options = tuple[str | None, bool, bool, frozenset[str]]
_EVENT_COLUMNS = ["ts_ns", "boot", "cpu", "pid", "comm", "event", "args"]


def _events(recording: Recording, run: Run) -> pa.Table:
    """The events of both kernels of a handover, 0 is its jump."""
    import pyarrow.compute as pc

    h = recording.report(last_events=False).handovers[run.number]
    table = recording.table().select(_EVENT_COLUMNS)
    table = table.filter(pc.is_in(table["boot"], pa.array([h.old, h.new], pa.uint8())))
    stamps = pc.subtract(table["ts_ns"], run.jump_ns or 0)
    table = table.set_column(0, "ts_ns", stamps)
    key = pa.array([handover_key(run.fingerprint, run.number)] * len(table), pa.int64())
    plain = [table[name].cast(TABLES["events"].field(name).type) for name in _EVENT_COLUMNS]
    return pa.table([key, *plain], schema=TABLES["events"])


def _reason(path: str, error: BaseException) -> str:
    return str(error).removeprefix(f"{path}: ")


def _added(path: str, options: Options) -> Added | Bad | None:
    host, by_folder, with_events, known = options
    session = Session.open(path)
    mark = session.fingerprint
    if mark in known:
        return None
    if session.manifest.state == "writing":
        return Bad(path, "a command is at work on it, or was killed: run that command again")
    recording = tracekit.open(session)
    runs = runs_of(recording)
    if not runs:
        return Bad(path, "one boot only: there is no handover in it")
    folder = Path(path).resolve().parent.name
    named = host or (folder if by_folder else None)
    runs = [replace(run, session=path, host=named or run.host) for run in runs]
    tables = of_runs(runs)
    if with_events:
        for run in runs:
            (where,) = of_runs([run])
            before = tables[where].get("events")
            mine = _events(recording, run)
            tables[where]["events"] = mine if before is None else pa.concat_tables([before, mine])
    return Added(mark, path, len(runs), tables)


def decode(path: str, options: Options) -> Added | Bad | None:
    """A session's rows, or why it has none; None where the dataset has it already.

    Whatever a damaged session does to the decoder is its reason, never an exception.
    """
    try:
        return _added(path, options)
    except TracekitError as error:
        return Bad(path, _reason(path, error))
    except Exception as error:
        known = explained(error)
        said = str(known) if known else f"a bug of tracekit: {type(error).__name__}: {error}"
        return Bad(path, said)


def decode_some(paths: Sequence[str], options: Options) -> list[Added | Bad | None]:
    """:func:`decode` of each."""
    return [decode(path, options) for path in paths]
