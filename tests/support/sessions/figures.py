"""Runs made by hand: what a comparison is told, without a session."""

from __future__ import annotations

from tracekit.runs.run import Figure, Kind, Run

__all__ = ["figure", "run"]


def figure(
    kind: Kind, name: str, ns: int | None, error: int | None = 10, detail: str = "",
    finished: bool = True,
) -> Figure:  # fmt: skip
    """A figure that begins at the jump."""
    return Figure(kind, name, detail, 0, ns, error, 1, finished)


def run(*figures: Figure, session: str = "s", **about: object) -> Run:
    """A run that has a blackout and a gap even where none is given."""
    totals = [f for name in ("blackout", "gap")
              if not any(f.kind == "total" and f.name == name for f in figures)
              for f in [figure("total", name, None)]]  # fmt: skip
    facts: dict[str, object] = {
        "fingerprint": session, "number": 0, "old_kernel": "7.1", "kernel": "7.2", "way": "kexec",
        "started_by": "kexec", "host": "h", "host_type": "x86_64", "clock": "x86-tsc",
        "clock_error_ns": 100, "time": "2026-11-01T10:00:00.000000000Z", "jump_ns": 0,
        "jump_seen": True, "verdict": "complete", "events": 10, "lost": 0, "lost_at_least": False,
        "unreadable": 0, "undecodable": 0, "dma_left": (),
    }  # fmt: skip
    return Run(session=session, figures=(*totals, *figures), **{**facts, **about})  # type: ignore[arg-type]
