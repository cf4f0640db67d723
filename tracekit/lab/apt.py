"""Debian's packages, fetched by apt with lists and settings of the lab's own.

So signatures are checked, no root is needed, and the machine's apt is neither used nor changed: it
may be of another release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tracekit.errors import LabError
from tracekit.lab.tools import Say, need, run

__all__ = ["Apt", "fresh"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")


class Apt:
    """apt with lists of its own below ``place``, of the suites in it."""

    def __init__(self, place: Path, suites: Iterable[str]) -> None:
        self._tools = need("fetching Debian's packages", ["apt-get", "apt-cache"])
        if not _KEYRING.exists():
            raise LabError(
                f"{_KEYRING} is missing, so packages cannot be verified\n"
                "next: sudo apt-get install debian-archive-keyring"
            )
        for name in ("lists/partial", "cache/archives/partial", "none"):
            (place / name).mkdir(parents=True, exist_ok=True)
        (place / "sources.list").write_text("".join(_source(suite) for suite in suites))
        (place / "status").touch()
        settings = {
            "Dir::Etc::sourcelist": place / "sources.list",
            "Dir::Etc::sourceparts": place / "none",
            "Dir::Etc::preferences": place / "none" / "none",
            "Dir::Etc::preferencesparts": place / "none",
            "Dir::State": place,
            "Dir::State::lists": place / "lists",
            "Dir::State::status": place / "status",
            "Dir::Cache": place / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
        }
        self._options = [part for k, v in settings.items() for part in ("-o", f"{k}={v}")]

    def get(self, *words: str, cwd: Path) -> None:
        """Run apt-get; what it downloads lies in ``cwd``."""
        run([self._tools["apt-get"], *self._options, "-q", *words], cwd=cwd)

    def cache(self, *words: str) -> list[str]:
        """The lines that apt-cache prints."""
        return run([self._tools["apt-cache"], *self._options, *words])

    def download(self, package: str, directory: Path) -> Path:
        """Fetch a package (``NAME`` or ``NAME=VERSION``) into a directory without any other."""
        self.get("download", package, cwd=directory)
        (deb,) = directory.glob("*.deb")
        return deb

    def depends(self, package: str) -> list[str]:
        """The packages that the newest version of one depends on; of alternatives the first.

        Raises :class:`~tracekit.errors.LabError` where no list has it.
        """
        for line in self.cache("show", "--no-all-versions", package):
            if line.startswith("Depends: "):
                names = (part.strip() for part in line.removeprefix("Depends: ").split(","))
                return [match[0] for name in names if (match := _NAME.match(name))]
        return []


def _source(suite: str) -> str:
    mirror = _SECURITY if suite.endswith("-security") else _MIRROR
    return f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n"


def fresh(place: Path, suites: Iterable[str], say: Say) -> Apt:
    """An apt for these suites, its lists as they are at the mirror now."""
    suites = tuple(suites)
    say(f"reading the package lists of Debian {' and '.join(suites)}")
    apt = Apt(place, suites)
    apt.get("update", cwd=place)
    return apt
