"""What a guest prints on its console: lines stamped with the host's clock, and the marks in them.

``guest/init`` and ``guest/driver`` print the marks, lines that begin with ``@lab``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tracekit.frozen import dataclass
from tracekit.lab.tools import tail

__all__ = ["Line", "Lines", "Progress", "is_panic", "last_lines", "mark", "read_marks", "trouble"]

_MARK = re.compile(r"@lab ([a-z]+):? ?(.*)")
_PANIC = re.compile(r"(?<!end )Kernel panic - not syncing: .*")
_BROKEN = re.compile(r"@lab broken: (.*)")
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles
    r"|\x1b[@-Z\\^-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)


class Line(NamedTuple):
    """A line of the console; ``ns`` is the host's ``time.monotonic_ns()`` when it was complete."""

    ns: int
    text: str


class Lines:
    """Cuts the bytes of a console into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """The lines that ``data`` completes, without escape sequences, stamped now."""
        now = time.monotonic_ns()
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [Line(now, _clean(raw)) for raw in whole]

    def end(self) -> list[Line]:
        """What was printed after the last line end, if anything."""
        rest, self._rest = self._rest, b""
        return [Line(time.monotonic_ns(), _clean(rest))] if rest.strip() else []


def _clean(raw: bytes) -> str:
    return _ESCAPES.sub("", raw.decode(errors="backslashreplace")).rstrip()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a guest came, from the marks on its console.

    ``statuses``: per boot the exit status of its script, None when it did not return (it jumped,
    or the guest died). ``packed``: the results were written out whole. ``stayed``: the boot whose
    script asked for a jump that did not come. ``unexpected``: a boot that had no script.
    """

    statuses: tuple[int | None, ...] = ()
    packed: bool = False
    stayed: int | None = None
    unexpected: int | None = None


def mark(text: str) -> tuple[str, tuple[int, ...]] | None:
    """The word and the numbers of a line that is a mark: ``("end", (boot, status))``."""
    match = _MARK.fullmatch(text)
    if match is None:
        return None
    return match[1], tuple(int(word) for word in match[2].split() if word.isdigit())


def read_marks(lines: Iterable[Line]) -> Progress:
    """The marks among ``lines``."""
    statuses: dict[int, int | None] = {}
    packed = False
    stayed = unexpected = None
    for line in lines:
        match mark(line.text):
            case "begin", (boot,):
                statuses[boot] = None
            case "end", (boot, status):
                statuses[boot] = status
            case "packed", (status,):
                packed = status == 0
            case "stayed", (boot,):
                stayed = boot
            case "unexpected", (boot,):
                unexpected = boot
    return Progress(tuple(statuses[boot] for boot in sorted(statuses)), packed, stayed, unexpected)


def is_panic(line: Line) -> bool:
    """Whether the kernel says here that it panics; it says so once."""
    return _PANIC.search(line.text) is not None


def trouble(lines: Iterable[Line], scripts: int, panics: int = 0) -> str | None:
    """Why a run of ``scripts`` boots that ended by itself did not succeed; None when it did.

    ``panics`` of them, the first ones, were meant.
    """
    lines = list(lines)
    progress = read_marks(lines)
    boot = len(progress.statuses) - 1
    for line in lines:
        if match := _BROKEN.search(line.text):
            return f"the guest broke down: {match[1]}"
        if match := _PANIC.search(line.text):
            panics -= 1
            if panics < 0:
                return f"the guest broke down: {match[0]}"
    for number, status in enumerate(progress.statuses):
        if status:
            return f"the script of boot {number} failed with status {status}"
    if progress.stayed is not None:
        return f"the script of boot {progress.stayed} ended, and the guest did not leave after it"
    if progress.unexpected is not None:
        return f"boot {progress.unexpected} came unexpected: there are {scripts} scripts"
    if boot < 0:
        return "the guest ended before its first script began"
    if progress.statuses[-1] is None:
        return f"the guest ended while the script of boot {boot} ran"
    if boot + 1 < scripts:
        return f"the guest ended after boot {boot}: {scripts} boots were planned"
    return None if progress.packed else "the guest's results could not be written out"


def last_lines(lines: Sequence[Line]) -> str:
    """The end of the console, to end an error with."""
    return f"the guest's last lines:\n{tail(line.text for line in lines)}"
