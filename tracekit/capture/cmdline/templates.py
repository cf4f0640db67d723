"""The templates of what setup installs, and the words that stand in them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files

from tracekit.errors import UsageError

__all__ = ["absolute", "program", "template"]

_WORD = re.compile(r"[A-Za-z0-9_@:=,./+~-]+")  # needs no quotes, neither in systemd nor in a shell


def _word(text: str, option: str) -> str:
    if _WORD.fullmatch(text) is None:
        raise UsageError(
            f"{option} {text!r}: only letters, digits and @:=,./+~_- can stand in a unit file"
        )
    return text


def absolute(text: str, option: str) -> str:
    """A path of the installed system; raises :class:`~tracekit.errors.UsageError`."""
    if not text.startswith("/") or ".." in text.split("/"):
        raise UsageError(f"{option} {text!r}: give an absolute path of the installed system")
    return _word(text, option)


def program(command: str | None, option: str = "--program") -> str:
    """How units call tracekit: the program that is running, unless another is named."""
    if command is not None:
        words = shlex.split(command)
    else:
        path = shutil.which("tracekit") or shutil.which(sys.argv[0])
        words = [os.path.abspath(path)] if path else [sys.executable, "-P", "-m", "tracekit"]  # noqa: PTH100
    if not words or not words[0].startswith("/"):
        raise UsageError(f"{option} {command!r}: begin with the absolute path of a program")
    return " ".join(_word(word, option) for word in words)


def template(name: str, values: Mapping[str, str]) -> str:
    """A file of ``units/``, with each ``@NAME@`` as ``values`` have it."""
    text = files("tracekit.capture.cmdline").joinpath("units", name).read_text("utf-8")
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], text)
