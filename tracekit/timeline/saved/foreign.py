"""A saved region in which no ring buffer is found: whether it is somebody else's memory."""

from __future__ import annotations

import contextlib
from typing import Any

from tracekit.carriers.dumps.signatures import HEAD, PSTORE
from tracekit.carriers.memory_use import Memory
from tracekit.errors import SessionError
from tracekit.session import Session

__all__ = ["whose_region"]


def whose_region(session: Session, boot: int, name: str, cmdline: str) -> str:
    """Who uses the region ``name`` of a boot, and where to read it, in words; '' for nobody else.

    ``cmdline`` is the boot's. Damaged files of the session count for nothing.
    """
    base = f"boots/{boot}"
    known: Any = {}
    head = iomem = b""
    with contextlib.suppress(SessionError):
        known = session.json(f"{base}/regions/{name}.json")
    with contextlib.suppress(SessionError):
        iomem = session.read(f"{base}/iomem")
    with contextlib.suppress(SessionError):
        head = bytes(session.read(f"{base}/regions/{name}.raw")[:HEAD])
    values = [known.get(key) for key in ("address", "size")] if isinstance(known, dict) else []
    numbers = [value for value in values if type(value) is int]
    address, size = numbers if len(numbers) == 2 else (None, 0)
    given = known.get("name") if isinstance(known, dict) else None
    memory = Memory.of(cmdline, iomem=iomem.decode("utf-8", "replace"))
    use = memory.use_of(given if isinstance(given, str) else name, address, size or 0, head)
    if not use.foreign:
        return ""
    advice = f": {PSTORE}" if use.kind == "ramoops" else ""
    return f"it is used by {use.who}, and is no trace{advice}"
