"""Sessions as tracekit wrote them in format 1: every event's format a file of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tracekit.session import Session

__all__ = ["loosen"]


def loosen(path: Path) -> Path:
    """Make a session one of format 1, in place, so that single formats can be damaged."""
    session = Session.open(path)
    manifest = path / "manifest.json"
    document = json.loads(manifest.read_bytes())
    files = {
        name: digest
        for name, digest in document["files"].items()
        if not name.startswith("formats/") and not name.endswith("/formats.json")
    }
    for boot in session.boots:
        for rel in session.list(f"boots/{boot}/tracefs/events/"):
            data = session.read(rel)
            (path / rel).parent.mkdir(parents=True, exist_ok=True)
            (path / rel).write_bytes(data)
            files[rel] = hashlib.sha256(data).hexdigest()
        (path / f"boots/{boot}/formats.json").unlink(missing_ok=True)
    shutil.rmtree(path / "formats", ignore_errors=True)
    manifest.write_text(json.dumps(document | {"format_version": 1, "files": files}))
    return path
