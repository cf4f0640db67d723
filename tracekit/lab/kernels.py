"""The lab's kernels: its own, and those of a distribution.

Its own have KHO and everything a guest needs built in: ready ones, or built from Debian's source
packages with ``kho.config``; they are called by their version. Stock ones are Debian's, as their
packages have them, called ``debian:`` and a suite.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from tracekit.errors import LabError
from tracekit.frozen import dataclass
from tracekit.lab.modules import SELECTION
from tracekit.lab.store import digest

__all__ = [
    "STOCK",
    "Kernel",
    "available",
    "built_directory",
    "choose",
    "config",
    "find",
    "matching",
    "stock_directory",
    "stock_kernels",
    "version_key",
]

#: What the name of a stock kernel begins with.
STOCK = "debian:"

_IMAGE = re.compile(r"bzImage-(\d+(?:\.\d+)*[A-Za-z0-9.+~-]*?)-kho")


def config() -> bytes:
    """The fragment of kernel configuration that ships: all that a handover and a guest need."""
    return (files("tracekit.lab") / "kho.config").read_bytes()


def built_directory(lab: Path) -> Path:
    """Where kernels built with this configuration lie, as ``bzImage-VERSION-kho``."""
    return lab / f"kernels-{digest(config().decode())}"


def version_key(version: str) -> tuple[int, ...]:
    """For sorting: the numbers of ``7.2.13``."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def available(lab: Path) -> dict[str, Path]:
    """Version -> image, oldest first: those in ``$TRACEKIT_LAB_KERNELS`` and those built here."""
    images: dict[str, Path] = {}
    places = [built_directory(lab)]
    ready = os.environ.get("TRACEKIT_LAB_KERNELS")
    if ready:
        places.append(Path(ready).resolve())
        if not places[-1].is_dir():
            raise LabError(
                f"TRACEKIT_LAB_KERNELS={ready}: no such directory: name one with files like"
                " bzImage-7.2.13-kho, or unset it to use kernels that 'tracekit lab build' makes"
            )
    for place in places:
        for path in place.glob("bzImage-*-kho"):
            match = _IMAGE.fullmatch(path.name)
            if match and path.is_file():
                images[match[1]] = path
    return dict(sorted(images.items(), key=lambda item: version_key(item[0])))


def matching(wanted: str, kernels: Iterable[str]) -> list[str]:
    """The versions that are ``wanted`` or begin with it (``7.2`` for ``7.2.13``)."""
    return [version for version in kernels if f"{version}.".startswith(f"{wanted}.")]


def choose(wanted: str, kernels: Iterable[str]) -> str:
    """The newest of ``kernels`` (oldest first) that :func:`matching` finds."""
    versions = list(kernels)
    if fitting := matching(wanted, versions):
        return fitting[-1]
    series = ".".join(wanted.split(".")[:2])
    raise LabError(
        f"no kernel {wanted or 'at all'} in the lab; there are: {', '.join(versions) or 'none'}\n"
        f"next: tracekit lab build --kernel {series or '7.2'}, or set TRACEKIT_LAB_KERNELS to a"
        " directory with ready ones (bzImage-7.2.13-kho)"
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the lab.

    ``release`` is what ``uname -r`` says in it, or the version that the lab's own are named with;
    in a guest it lies as ``/boot/vmlinuz-RELEASE``. ``directory`` is where a stock one has its
    ``config`` and ``lib/modules/RELEASE``, and ``suite`` where it is from; None and "" for the
    lab's own.
    """

    release: str
    image: Path
    directory: Path | None = None
    suite: str = ""

    @property
    def name(self) -> str:
        """What :func:`find` takes for it."""
        return f"{STOCK}{self.release}" if self.stock else self.release

    @property
    def stock(self) -> bool:
        """Whether a distribution built it."""
        return self.directory is not None


def stock_directory(lab: Path) -> Path:
    """Where stock kernels lie with this selection of their modules, as ``SUITE/RELEASE/``."""
    return lab / f"stock-{digest(SELECTION)}"


def stock_kernels(lab: Path) -> list[Kernel]:
    """The stock kernels that were fetched, oldest first."""
    images = stock_directory(lab).glob("[a-z]*/[0-9]*/vmlinuz")
    there = [Kernel(p.parent.name, p, p.parent, p.parent.parent.name) for p in images]
    return sorted(there, key=lambda kernel: version_key(kernel.release))


def find(wanted: str, lab: Path) -> Kernel:
    """The kernel that ``wanted`` names: ``7.2``, ``debian:trixie``, ``debian:6.12.117+...``.

    The newest, where there are several. Raises :class:`~tracekit.errors.LabError`.
    """
    if not wanted.startswith(STOCK):
        own = available(lab)
        version = choose(wanted, own)
        return Kernel(version, own[version])
    name = wanted.removeprefix(STOCK)
    there = stock_kernels(lab)
    fitting = [k for k in there if k.suite == name or matching(name, [k.release])]
    if fitting:
        return fitting[-1]
    names = ", ".join(f"{STOCK}{k.suite} ({k.release})" for k in there)
    buildable = f"{STOCK}trixie" if name[:1].isdigit() else wanted
    raise LabError(
        f"no kernel {wanted} in the lab; its stock kernels: {names or 'none'}\n"
        f"next: tracekit lab build --kernel {buildable}"
    )
