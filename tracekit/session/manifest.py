"""``manifest.json``: what a session holds, which tracekit wrote it and how far it got."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal, cast

from tracekit.errors import Diagnostic, SessionError, Severity, VersionError
from tracekit.frozen import dataclass, field
from tracekit.session.files import Directory
from tracekit.session.limits import MAX_JSON
from tracekit.session.names import LEFTOVER
from tracekit.session.packing.sparse import SPARSE
from tracekit.session.packing.symbols import SHARED

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "BootDiagnostic",
    "Manifest",
    "State",
    "load_manifest",
    "parse_manifest",
]

MANIFEST = "manifest.json"
#: 1 has no formats/: every format is a file of its own; 2 has no files from which empty pages were
#: left out and no symbols/, and is still written where there are none of either.
FORMAT_VERSION = 3
State = Literal["writing", "snapshot", "recovered"]
"""``writing``: a command is at work, or was killed; otherwise the last one that finished."""

_STATES = ("writing", "snapshot", "recovered")
_SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class BootDiagnostic:
    """A remark made while a boot was saved; ``boot`` is its index, or None for the session."""

    boot: int | None
    diagnostic: Diagnostic


@dataclass(slots=True)
class Manifest:
    """The manifest; ``files`` maps stored names to the sha256 of the bytes on disk, in hex."""

    tool_version: str
    state: State = "writing"
    boots: list[int] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    diagnostics: list[BootDiagnostic] = field(default_factory=list)

    def encode(self) -> bytes:
        """The file's bytes; the same manifest gives the same bytes."""
        newest = any(SPARSE in name or SHARED in name for name in self.files)
        document = {
            "format_version": FORMAT_VERSION if newest else FORMAT_VERSION - 1,
            "tool": "tracekit",
            "tool_version": self.tool_version,
            "state": self.state,
            "boots": self.boots,
            "files": dict(sorted(self.files.items())),
            "diagnostics": [
                {"boot": entry.boot, **entry.diagnostic.as_dict()} for entry in self.diagnostics
            ],
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def _diagnostic(entry: object) -> BootDiagnostic | None:
    if not isinstance(entry, Mapping):
        return None
    boot = entry.get("boot")
    severity = entry.get("severity")
    return BootDiagnostic(
        boot if isinstance(boot, int) else None,
        Diagnostic(
            str(entry.get("code")),
            cast(Severity, severity) if severity in _SEVERITIES else "warning",
            str(entry.get("where")),
            str(entry.get("message")),
        ),
    )


def parse_manifest(data: bytes, source: str) -> Manifest:
    """Read a manifest; ``source`` names the session in errors.

    Raises :class:`~tracekit.errors.VersionError` when a newer tracekit wrote it and
    :class:`~tracekit.errors.SessionError` when it is none.
    """
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{source}: {MANIFEST} is damaged: {error}") from error
    if not isinstance(document, dict) or document.get("tool") != "tracekit":
        raise SessionError(f"{source}: {MANIFEST} was not written by tracekit: not a session")
    version = document.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise SessionError(f"{source}: {MANIFEST} names no format version: {version!r}")
    if version > FORMAT_VERSION:
        raise VersionError(
            f"{source}: a session of format {version}, written by tracekit "
            f"{document.get('tool_version')}; this one reads up to format {FORMAT_VERSION}: "
            "use that version or a later one"
        )
    files, boots = document.get("files"), document.get("boots")
    entries, state = document.get("diagnostics", []), document.get("state")
    if (
        not isinstance(files, dict)
        or not all(isinstance(digest, str) for digest in files.values())
        or not isinstance(boots, list)
        or not all(isinstance(boot, int) and 0 <= boot < 256 for boot in boots)
        or not isinstance(entries, list)
    ):
        raise SessionError(f"{source}: {MANIFEST} is damaged: its files or boots make no sense")
    return Manifest(
        tool_version=str(document.get("tool_version")),
        state=cast(State, state) if state in _STATES else "writing",
        boots=sorted(set(boots)),
        files=files,
        diagnostics=[remark for entry in entries if (remark := _diagnostic(entry)) is not None],
    )


def _tool_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kexec-tracekit")
    except PackageNotFoundError:
        return "0+unknown"


def load_manifest(directory: Directory) -> Manifest:
    """The manifest of a session that is written on, or that of a new one.

    Raises :class:`~tracekit.errors.SessionError` where the directory holds something else.
    """
    if directory.exists(MANIFEST):
        with directory.guard(MANIFEST):
            data = directory.read(MANIFEST, MAX_JSON)
        manifest = parse_manifest(data, str(directory.path))
        manifest.tool_version = _tool_version()
        return manifest
    with os.scandir(directory.fd) as entries:
        strangers = [e.name for e in entries if not e.name.startswith(LEFTOVER)]
    if strangers:
        raise SessionError(
            f"{directory.path}: holds {', '.join(sorted(strangers)[:3])} and no {MANIFEST}: "
            "not a session: name a new directory or an empty one"
        )
    with directory.guard(""):
        os.fchmod(directory.fd, 0o700)  # an empty directory that the user has made
    return Manifest(_tool_version())
