"""What the commands print and write of a session, as digests: to tell whether anything changed.

Run as a program it writes the digests of sessions as JSON: ``python -m tests.support.outputs
SESSION...``. With another checkout's interpreter they are those of that checkout.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

__all__ = ["digests"]

_PRINTED = {
    "report --json": ("report", "--json"),
    "report": ("report",),
    "events --format text": ("events", "--format", "text"),
    "events --format kernel": ("events", "--format", "kernel"),
    "events --format json": ("events", "--format", "json"),
    "events --where": ("events", "--where", "event ~ sched_* and cpu = 0"),
}
_DERIVED = shutil.ignore_patterns("timeline.*", "index", ".index*", "notes.json")


def _run(where: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "tracekit", "-q", *words]
    return subprocess.run(command, cwd=where, stdout=subprocess.PIPE, check=True).stdout


def _decoded(file: Path) -> bytes:
    """What a Parquet file holds, whatever release of pyarrow wrote it: schema and values."""
    table = pq.read_table(file)
    rows = ([str(v) for v in row.values()] for row in table.to_pylist())
    about = [f"{f.name}: {f.type}" for f in table.schema]
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    return json.dumps([about, metadata, *rows]).encode()


def _outputs(session: str, where: Path) -> Iterator[tuple[str, bytes]]:
    for name, (command, *options) in _PRINTED.items():
        yield name, _run(where, command, session, *options)
    _run(where, "export", session, "--format", "csv", "-o", "events.csv")
    yield "export --format csv", (where / "events.csv").read_bytes()
    _run(where, "export", session, "--format", "parquet", "-o", "events.parquet")
    yield "export --format parquet", _decoded(where / "events.parquet")
    _run(where, "export", session, "--format", "parquet", "--per-event", "events")
    for file in sorted((where / "events").iterdir()):
        yield f"export --per-event {file.name}", _decoded(file)


def digests(session: Path) -> dict[str, str]:
    """Output -> its sha256. The session is copied, without what was derived from it."""
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        if session.is_dir():
            shutil.copytree(session, where / session.name, ignore=_DERIVED)
        else:
            shutil.copy(session, where / session.name)
        every = hashlib.sha256()
        found = {}
        for output, data in _outputs(session.name, where):
            if output.startswith("export --per-event"):
                every.update(output.encode() + hashlib.sha256(data).digest())
            else:
                found[output] = hashlib.sha256(data).hexdigest()
        return {**found, "export --per-event": every.hexdigest()}


if __name__ == "__main__":
    print(json.dumps({Path(s).name: digests(Path(s)) for s in sys.argv[1:]}, indent=1))
