"""Every error tracekit raises, and the diagnostics it reports instead of raising.

::

    TracekitError            exit 1   the root; caught once, in tracekit.cli.main
    ├── UsageError           exit 2   an option or a filter that makes no sense
    ├── SourceError          exit 3   a file cannot be read or written, or is of the wrong kind
    │   └── ParseError       exit 3   bytes or text that break their format
    │       └── FormatError  exit 3   an event format description that makes no sense
    ├── SessionError         exit 4   a session directory that cannot be used
    │   └── VersionError     exit 4   ... because a newer tracekit wrote it
    ├── TooLarge             exit 4   a session that would take more memory than it is worth
    ├── NothingToRecover     exit 5   recover found no preserved recording; the message says why
    └── LabError             exit 6   the lab's guest or a tool that builds it failed

An error stops the command. A :class:`Diagnostic` does not: it is a typed remark about one place
in the data (a corrupt page, a missing file), and the rest is still decoded.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar, Literal

from tracekit.frozen import dataclass

__all__ = [
    "Diagnostic",
    "FormatError",
    "LabError",
    "NothingToRecover",
    "ParseError",
    "SessionError",
    "Severity",
    "SourceError",
    "TooLarge",
    "TracekitError",
    "UsageError",
    "VersionError",
    "explained",
]

Severity = Literal["info", "warning", "error"]


class TracekitError(Exception):
    """Root of all tracekit errors: what was found, where, and what to do next."""

    exit_code: ClassVar[int] = 1


class UsageError(TracekitError):
    """The user asked for something that makes no sense."""

    exit_code = 2


class SourceError(TracekitError):
    """A source (a file, a core, a region) is absent, unreadable or of the wrong kind."""

    exit_code = 3


class ParseError(SourceError):
    """Bytes or text that break their format; names source, offset and what was expected."""


class FormatError(ParseError):
    """An event's format description that makes no sense."""


class SessionError(TracekitError):
    """A session directory that cannot be used."""

    exit_code = 4


class VersionError(SessionError):
    """A session that a newer tracekit wrote."""


class TooLarge(TracekitError):
    """A session that unpacks to far more than it has on disk: damaged, or made to exhaust memory.

    No SessionError: a file that cannot be read is remarked on, this ends the command.
    """

    exit_code = 4


class NothingToRecover(TracekitError):
    """No preserved recording was found; the message gives the evidence."""

    exit_code = 5


class LabError(TracekitError):
    """The lab failed; the message ends with the last lines that the guest or the tool printed."""

    exit_code = 6


_NATIVE = "tracekit._native"
_DISTRIBUTIONS = {"textual_serve": "textual-serve"}
_THREADS = "can't start new thread"


def _missing(error: ImportError) -> TracekitError:
    name = error.name or ""
    if name.startswith(_NATIVE):
        return TracekitError(
            f"tracekit is not installed whole ({error}): install it again, "
            "or build it where it lies with 'pip install -e .'"
        )
    top = name.partition(".")[0]
    package = _DISTRIBUTIONS.get(top, top)
    if isinstance(error, ModuleNotFoundError) and top:
        found = f"this needs the Python package {package}, which is not installed here"
    else:
        found = f"a Python package that this needs cannot be loaded: {error}"
    return TracekitError(
        f"{found}: install it (pip install {package or 'kexec-tracekit'}), or copy the session to "
        "a machine that has it: what is recorded, saved and recovered needs no packages"
    )


def explained(error: BaseException) -> TracekitError | None:
    """What is to be said where Python itself gave up: memory, depth, packages; None for a bug."""
    if isinstance(error, ImportError):
        return _missing(error)
    if isinstance(error, RecursionError):
        return TracekitError(
            "something is nested too deeply to be read: a filter, which can be made simpler, or a "
            "file of the session, which is then damaged; -v shows which"
        )
    if isinstance(error, MemoryError) or _THREADS in str(error):
        return TracekitError(
            "there is not enough memory for this: run it on a machine that has more, or raise the "
            "limit that is set (ulimit -v, systemd's MemoryMax=)"
        )
    return None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One typed remark about the data.

    ``code`` is stable and greppable (``page-commit-beyond``), ``where`` names the place
    (``boot 0 region tkA cpu 1 slot 17``), ``message`` says it in words.
    """

    code: str
    severity: Severity
    where: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The JSON form: keys ``code``, ``severity``, ``where``, ``message``."""
        return asdict(self)
