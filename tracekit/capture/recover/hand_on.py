"""A finished session handed on to where a fleet's are collected. Standard library alone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tracekit.errors import SessionError, SourceError, TracekitError
from tracekit.session import Session

__all__ = ["copy_session", "run_with"]


def _name(session: Session) -> str:
    """``HOST-DIGEST``: the same for the same recording, another for every other."""
    host = ""
    for boot in reversed(session.boots):
        try:
            host = str(session.kernel(boot).get("hostname") or "")
        except SessionError:
            host = ""
        if host:
            break
    plain = "".join(c for c in host if (c.isascii() and c.isalnum()) or c in ".-_").strip(".-")
    return f"{plain[:64] or 'host'}-{session.fingerprint[:16]}"


def copy_session(path: Path, folder: Path) -> Path:
    """Copy a session into a folder, which is made; what is there already is left alone.

    The copy has another name, which begins with a dot, until it is whole.
    """
    session = Session.open(path)
    target = folder / (_name(session) + "".join(path.suffixes[-2:] if path.is_file() else ()))
    part = folder / f".{target.name}.part-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return target
        try:
            if path.is_dir():
                # what is derived belongs to this machine's user, and is made again
                ignored = shutil.ignore_patterns(
                    "timeline.*", "reports.*", "index", ".*", "notes.json"
                )
                shutil.copytree(path, part, symlinks=True, ignore=ignored)
            else:
                shutil.copyfile(path, part)
            os.rename(part, target)  # noqa: PTH104 - fails where another was as fast
        finally:
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
    except (OSError, shutil.Error) as error:
        if target.exists():
            return target
        text = getattr(error, "strerror", None) or error
        raise SourceError(f"{path}: cannot be copied to {folder}: {text}") from error
    return target


def run_with(program: str, path: Path) -> None:
    """Run a command with the session's path as its last argument.

    Raises :class:`~tracekit.errors.TracekitError` where it fails.
    """
    try:
        words = [*shlex.split(program), str(path)]
        code = subprocess.run(words, check=False).returncode
    except (OSError, ValueError) as error:
        raise TracekitError(f"{program}: cannot be run: {error}") from error
    if code:
        raise TracekitError(f"{shlex.join(words)}: exit code {code}")
