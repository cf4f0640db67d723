"""The lab's kernels: ready ones, or built from Debian's source packages with ``kho.config``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from tracekit.errors import LabError
from tracekit.lab.store import digest

__all__ = ["available", "built_directory", "choose", "config", "matching", "version_key"]

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
