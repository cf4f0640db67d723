"""Debian 13's trace-cmd and libkshark beside this machine's own, unpacked into a directory.

python -m tests.support.trace_cmds.debian13    # as root or not: nothing is installed
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tracekit.errors import LabError
from tracekit.lab.apt import fresh
from tracekit.lab.tools import need, run

__all__ = ["DIRECTORY", "fetch", "loader", "missing", "trace_cmd"]

DIRECTORY = Path(__file__).parents[3] / "build" / "debian13"
# what the two need of Debian, the C library among it: this machine's may be older
_PACKAGES = (
    "trace-cmd", "libkshark2", "libtracecmd1", "libtracefs1", "libtraceevent1", "libjson-c5",
    "libaudit1", "libcap-ng0", "libzstd1", "zlib1g", "libc6",
)  # fmt: skip
_LIBRARIES = DIRECTORY / "usr" / "lib" / "x86_64-linux-gnu"


def missing() -> str:
    """Why it cannot be used, '' where it can."""
    if (DIRECTORY / "ready").exists():
        return ""
    return "no trace-cmd 3.3 here: python -m tests.support.trace_cmds.debian13"


def loader() -> list[str]:
    """What runs a program with Debian 13's libraries: the words before the program's path."""
    return [str(_LIBRARIES / "ld-linux-x86-64.so.2"), "--library-path", str(_LIBRARIES)]


def trace_cmd() -> list[str]:
    """trace-cmd 3.3: the words of its command."""
    return [*loader(), str(DIRECTORY / "usr" / "bin" / "trace-cmd")]


def fetch() -> None:
    """Download and unpack. Raises :class:`~tracekit.errors.LabError`."""
    unpack = need("unpacking Debian's packages", ["dpkg-deb"])["dpkg-deb"]
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        apt = fresh(place / "apt", ["trixie"], lambda text: print(text, file=sys.stderr))
        (place / "debs").mkdir()
        apt.get("download", *_PACKAGES, cwd=place / "debs")
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        for deb in sorted((place / "debs").glob("*.deb")):
            run([unpack, "-x", str(deb), str(DIRECTORY)])
    (DIRECTORY / "ready").touch()


if __name__ == "__main__":
    try:
        fetch()
    except (LabError, OSError) as error:
        sys.exit(f"{error}")
