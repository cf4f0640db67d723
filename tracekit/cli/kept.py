"""What earlier commands have left in a session, so that the next one is done at once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import tracekit
from tracekit.session import Session
from tracekit.session.derived import INDEX, fetch_text, keep_text, stamp

if TYPE_CHECKING:
    from tracekit.recording import Recording

__all__ = ["events_of", "printed"]

_KEPT = "reports.txt"
_MOST = 8  # forms: terminals have several widths


def printed(session: Session, form: str, make: Callable[[], str]) -> str:
    """The text that ``make`` gives, or gave earlier for the same files and the same ``form``.

    Nothing is kept of an archive, and of a session that is not intact.
    """
    made = None
    with contextlib.suppress(OSError):
        made = stamp(session) if session.path.is_dir() and session.intact else None
    if made is None:
        return make()
    known = _known(session)
    key = f"{form} {session.path}"  # which is in some of the messages
    if key not in known:
        kept = list(known.items())[1 - _MOST :]
        known = {**dict(kept), key: make()}
        keep_text(session, _KEPT, json.dumps(known), made)
    return known[key]


def _known(session: Session) -> dict[str, str]:
    """What is kept, by form."""
    try:
        document = json.loads(fetch_text(session, _KEPT) or "{}")
    except ValueError:
        return {}
    pairs = document.items() if isinstance(document, dict) else ()
    return {key: text for key, text in pairs if isinstance(text, str)}


def events_of(session: Session) -> Recording:
    """The events of a session; of a large one from its index, if ``show`` or ``stats`` made one."""
    if session.path.is_dir() and (session.path / INDEX).is_dir():
        from tracekit.browse.open import kept_events

        found = kept_events(session)
        if found is not None:
            return found
    return tracekit.open(session)
