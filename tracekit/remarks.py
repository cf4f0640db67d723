"""Remarks, made instead of errors where a file cannot be saved, and progress callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tracekit.errors import Diagnostic, Severity, SourceError
from tracekit.sysroot import Sysroot

__all__ = ["Progress", "Remarks", "no_progress"]

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""``progress(title, total)`` -> context manager that yields ``advance(n)``."""


@contextmanager
def no_progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """The progress of callers that want none."""
    yield lambda n: None


class Remarks:
    """Collects diagnostics; ``where`` is the prefix of each place (``boot 0``)."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.diagnostics: list[Diagnostic] = []

    def add(self, code: str, severity: Severity, where: str, message: str) -> None:
        """Add one remark about a place below :attr:`where`."""
        place = f"{self.where} {where}".strip()
        self.diagnostics.append(Diagnostic(code, severity, place, message))

    def append(self, diagnostic: Diagnostic) -> None:
        """Add a remark that was made elsewhere."""
        self.diagnostics.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add remarks that were made elsewhere."""
        self.diagnostics += diagnostics

    def get(self, root: Sysroot, rel: str, absent: Severity | None = "info") -> bytes | None:
        """A file of the root; None, with a remark, when it is absent or cannot be read.

        ``absent`` is the severity of its absence; None: no remark (an optional feature).
        """
        try:
            data = root.get(rel)
        except SourceError as error:
            self.add("file-unreadable", "warning", rel, str(error))
            return None
        if data is None and absent is not None:
            self.add("file-absent", absent, rel, f"{root.where(rel)} does not exist; not saved")
        return data

    def glob(self, root: Sysroot, pattern: str) -> list[str]:
        """Paths of the root that match; a directory that cannot be read becomes a remark."""
        try:
            return root.glob(pattern)
        except SourceError as error:
            self.add("file-unreadable", "warning", pattern, str(error))
            return []
