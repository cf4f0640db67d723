"""Builds a lab kernel from Debian's ``linux-source-X.Y`` with the configuration that ships.

apt fetches it, so its signature is checked (:mod:`tracekit.lab.apt`). Each step's result is kept,
so a build that was killed continues where it was.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tracekit.errors import LabError, UsageError
from tracekit.lab.apt import Apt, fresh
from tracekit.lab.kernels import built_directory, config, version_key
from tracekit.lab.store import cached, digest, locked
from tracekit.lab.tools import Say, need, run

__all__ = ["build_kernel", "newest_series"]

_TOOLS = ("bc", "bison", "flex", "gcc", "ld", "make", "pahole", "perl", "python3", "tar", "xz")
_HEADERS = ("gelf.h",)
_SUITES = ("trixie-backports", "sid")  # together they have the series of the last months
_SERIES = re.compile(r"\d+\.\d+")
_OLDEST = (6, 16)  # the first with KHO


def _lists(lab: Path, say: Say) -> Apt:
    return fresh(lab / "apt", _SUITES, say)


def _newest(apt: Apt, series: str) -> str | None:
    """The newest version of the series' source package, as Debian writes it."""
    versions = [
        line.split("|")[1].strip()
        for line in apt.cache("madison", f"linux-source-{series}")
        if line.count("|") == 2
    ]
    return max(versions, key=version_key, default=None)


def _series(apt: Apt) -> list[str]:
    """``X.Y`` of every source package, newest first."""
    names = apt.cache("search", "--names-only", r"^linux-source-[0-9]+\.[0-9]+$")
    numbers = {line.split()[0].removeprefix("linux-source-") for line in names if line.strip()}
    return sorted(numbers, key=version_key, reverse=True)


def newest_series(lab: Path, say: Say) -> str:
    """The newest ``X.Y`` that Debian has the source of. Raises :class:`LabError` without one."""
    supported = [s for s in _series(_lists(lab, say)) if version_key(s) >= _OLDEST]
    if not supported:
        raise LabError(
            f"no linux-source-X.Y with KHO (6.16 or newer) in Debian {' or '.join(_SUITES)}\n"
            "next: set TRACEKIT_LAB_KERNELS to a directory with kernels (bzImage-7.2.13-kho)"
        )
    return supported[0]


def build_kernel(lab: Path, series: str, say: Say, line: Say, jobs: int | None = None) -> Path:
    """The lab kernel of a series (``7.2``), built if need be; ``line`` sees make's output.

    Some 16 minutes on two cores, and 3 GB while it builds.
    """
    if not _SERIES.fullmatch(series):
        raise UsageError(f"{series!r} is not a kernel series: name one like 7.2")
    need("building a kernel", [*_TOOLS, "dpkg-deb"], _HEADERS)
    apt = _lists(lab, say)
    version = _newest(apt, series)
    if version is None:
        raise LabError(
            f"Debian {' and '.join(_SUITES)} have no linux-source-{series}; they have:"
            f" {', '.join(_series(apt)) or 'none'}"
        )
    with locked(lab / ".compiling"):
        ready = built_directory(lab) / f"bzImage-{version.split('-')[0]}-kho"
        if ready.exists():  # another process was faster
            return ready
        tree = _source(lab, apt, series, version, say)
        _configure(tree, say)
        say(f"compiling Linux {version}: some 16 minutes on two cores")
        run(["make", f"-j{jobs or os.cpu_count() or 1}", "bzImage"], cwd=tree, line=line)
        return _keep(lab, tree, say)


def _source(lab: Path, apt: Apt, series: str, version: str, say: Say) -> Path:
    """The unpacked source, in a directory of its version and of the configuration."""
    package = f"linux-source-{series}"

    def fetch(path: Path) -> None:
        say(f"fetching {package} {version} (150 MB)")
        apt.download(f"{package}={version}", path.parent).rename(path)

    def unpack(path: Path) -> None:
        deb = cached(lab / "sources" / f"{package}_{version}.deb", fetch)
        say(f"unpacking {package} {version}")
        run(["dpkg-deb", "-x", deb, path.parent / "deb"])
        archive = path.parent / "deb" / "usr" / "src" / f"{package}.tar.xz"
        run(["tar", "-C", path.parent, "-xf", archive])
        (path.parent / package).rename(path)

    return cached(lab / "builds" / f"{version}-{digest(config().decode())}", unpack)


def _configure(tree: Path, say: Say) -> None:
    """Write ``.config``. Raises :class:`LabError` when an option that a handover needs is lost."""
    if (tree / ".config").exists() and (tree / "kho.config").exists():
        return
    say("configuring: make tinyconfig, kho.config, make olddefconfig")
    run(["make", "tinyconfig"], cwd=tree)
    fragment = tree / "kho.fragment"
    fragment.write_bytes(config())
    run(["scripts/kconfig/merge_config.sh", "-m", ".config", fragment.name], cwd=tree)
    run(["make", "olddefconfig"], cwd=tree)
    lost = _lost(config().decode(), (tree / ".config").read_text())
    for option in lost:
        say(f"  this kernel does not take {option}")
    if "CONFIG_KEXEC_HANDOVER=y" in lost:
        raise LabError(f"{tree.name}: CONFIG_KEXEC_HANDOVER cannot be set: too old, or renamed")
    fragment.rename(tree / "kho.config")  # last: it says that .config is whole


def _lost(wanted: str, got: str) -> list[str]:
    """The options of ``wanted`` that are not in ``got``."""
    present = set(got.split())
    return [option for option in wanted.split() if option not in present]


def _keep(lab: Path, tree: Path, say: Say) -> Path:
    """Put the kernel among the lab's and remove what it was built in."""
    release = (tree / "include" / "config" / "kernel.release").read_text().strip()

    def copy(path: Path) -> None:
        shutil.copyfile(tree / "arch" / "x86" / "boot" / "bzImage", path)

    path = cached(built_directory(lab) / f"bzImage-{release}-kho", copy)
    say(f"built: {path}")
    shutil.rmtree(tree, ignore_errors=True)
    return path
