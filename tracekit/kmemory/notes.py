"""What could not be read, named and counted by its kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracekit.errors import Diagnostic, Severity, SourceError

__all__ = ["Notes"]

_NAMED = 8  # of a kind; the rest is counted
_KINDS = 64


@dataclass(slots=True)
class _Kind:
    what: str
    error: str
    names: list[str] = field(default_factory=list)
    count: int = 0


class Notes:
    """Diagnostics, and things that are missing, gathered by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._others: list[Diagnostic] = []

    def missing(self, what: str, name: str, error: SourceError | str) -> None:
        """``name``, one of ``what`` ("event formats"), is not there because of ``error``."""
        if what not in self._kinds and len(self._kinds) >= _KINDS:
            what = "other objects"
        kind = self._kinds.setdefault(what, _Kind(what, str(error)))
        kind.count += 1
        if len(kind.names) < _NAMED:
            kind.names.append(name)

    def add(self, code: str, severity: Severity, where: str, message: str) -> None:
        """A remark of its own; not more than some hundreds are kept."""
        if len(self._others) < _KINDS * _NAMED:
            self._others.append(Diagnostic(code, severity, where, message))

    def count(self, what: str) -> int:
        """How many of a kind are missing."""
        kind = self._kinds.get(what)
        return kind.count if kind else 0

    def diagnostics(self) -> list[Diagnostic]:
        """All remarks: one for each kind of what is missing, then the others."""
        gone = [
            Diagnostic(
                "dump-incomplete", "warning", kind.what,
                f"{kind.count} could not be read ({', '.join(kind.names)}"
                f"{', …' if kind.count > len(kind.names) else ''}): {kind.error}",
            )
            for kind in self._kinds.values()
        ]  # fmt: skip
        return [*gone, *self._others]
