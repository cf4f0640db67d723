"""What the small session of ``tests/session`` holds, and what is remarked on one."""

from __future__ import annotations

from tracekit.session import Session

KERNEL = b'{"release": "7.2.13"}'


def codes(session: Session) -> list[str]:
    return [d.code for d in session.diagnostics]
