"""Large sessions, made of a small one by repetition."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["repeat"]


def repeat(session: Path, where: Path, times: int) -> Path:
    """The session with its only region ``times`` over, each copy a region of its own.

    The copies are hard links: they take no room.
    """
    ignored = shutil.ignore_patterns("timeline.*", "index", ".index*", "notes.json")
    shutil.copytree(session, where, ignore=ignored)
    regions = where / "boots" / "0" / "regions"
    (raw,) = regions.glob("*.raw.*")
    name, suffix = raw.name.split(".raw.")
    for copy in range(1, times):
        os.link(raw, regions / f"{name}-{copy:03}.raw.{suffix}")
    return where
