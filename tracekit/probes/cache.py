"""Compiled programs that are kept for the next recording: ``/var/cache/tracekit/bpf``.

Only what this user alone can have written is loaded. Nothing here raises: what is not kept is
compiled anew.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tracekit.errors import ParseError
from tracekit.probes.objects import Objects
from tracekit.session.owned import opened_own
from tracekit.session.parts import replacing

__all__ = ["CACHE", "keep", "kept", "prune"]

#: Where they are, below the root.
CACHE = "var/cache/tracekit/bpf"
_MOST = 16 << 20  # bytes; all of tracekit's programs have 0.1 MB
_KEPT = 16  # one for each kernel and version of tracekit


def kept(place: Path, name: str) -> Objects | None:
    """What was kept under a name; None where there is nothing, or nothing to be trusted."""
    try:
        with opened_own(place, folder=True) as directory, opened_own(name, directory) as fd:
            data = os.pread(fd, _MOST, 0)
        return Objects.parse(data)
    except (OSError, ParseError):
        return None


def keep(place: Path, name: str, objects: Objects) -> None:
    """Keep programs under a name, and of older ones the newest."""
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        with opened_own(place, folder=True), replacing(place / name, 0o600) as file:
            file.write(objects.dump())
        prune(place)


def prune(place: Path) -> None:
    """Remove all but the newest; nothing where there is no such directory."""
    with contextlib.suppress(OSError):
        files = sorted(
            (path for path in place.iterdir() if path.is_file()),
            key=lambda path: path.stat().st_mtime_ns, reverse=True,
        )  # fmt: skip
        for path in files[_KEPT:]:
            path.unlink()
