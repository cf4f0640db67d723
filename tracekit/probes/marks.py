"""What the recorder writes into its own record, through ``trace_marker``."""

from __future__ import annotations

__all__ = ["MARK", "SNAPSHOT", "SNAPSHOT_TAKEN"]

MARK = "tracekit: "  #: what every such text begins with
SNAPSHOT = "last snapshot"  #: before the last snapshot
SNAPSHOT_TAKEN = "last snapshot taken"  #: and when it is in the session
