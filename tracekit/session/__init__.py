"""The session directory: one recording, on disk.

The only thing that passes between the target half, which writes it, and the analysis half, which
reads it. ``docs/session.md`` shows what is in it.
"""

from __future__ import annotations

from tracekit.session.limits import MAX_FILE, MAX_REGION
from tracekit.session.manifest import FORMAT_VERSION, State
from tracekit.session.names import safe_name
from tracekit.session.reader import Session
from tracekit.session.writer import SessionWriter

__all__ = [
    "FORMAT_VERSION",
    "MAX_FILE",
    "MAX_REGION",
    "Session",
    "SessionWriter",
    "State",
    "safe_name",
]
