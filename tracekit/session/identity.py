"""What tells one boot from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["identity"]


def identity(kernel: Mapping[str, Any]) -> str:
    """What identifies the boot of a ``kernel.json``: its boot_id, else what most likely differs.

    '' for an unknown boot, which is the same as no other.
    """
    if not kernel.get("known"):
        return ""
    if kernel.get("boot_id"):
        return str(kernel["boot_id"])
    parts = (kernel.get(key) for key in ("version", "cmdline", "btime_s", "text_address"))
    return "no boot_id: " + " ".join(str(part) for part in parts)
