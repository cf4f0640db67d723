"""Sessions with a kept index, and what it leaves and says."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from tracekit.browse.index.load import load
from tracekit.browse.open import Opened
from tracekit.session import Session
from tracekit.session.derived import INDEX, stamp

NAMES = ("handover-7.2-to-7.3-tsc", "handover-7.2-tsc", "same-boot-7.2", "same-boot-wide-7.2")
SHIPPED = "demo"
NEVER = 1 << 60


def quiet(what: str, share: float | None) -> None:
    assert share is None or 0 <= share <= 1


def kept_in(path: Path) -> Opened | None:
    """What a later open finds kept in a session."""
    opened = Session.open(path)
    found = load(opened, stamp(opened), path / INDEX)
    return Opened(*found) if found else None


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.iterdir() if p.name.startswith(".")]


def remarks(opened: Opened) -> list[str]:
    return [d.message for d in opened.report.diagnostics if d.code == "index-not-kept"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
