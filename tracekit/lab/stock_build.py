"""Takes a stock kernel out of Debian's packages: the image, its configuration, some modules."""

from __future__ import annotations

import re
from pathlib import Path

from tracekit.errors import LabError, UsageError
from tracekit.lab.apt import Apt, fresh
from tracekit.lab.kernels import STOCK, Kernel, stock_directory, stock_kernels
from tracekit.lab.modules import take_modules
from tracekit.lab.store import cached, scratch
from tracekit.lab.tools import Say, need, run

__all__ = ["build_stock"]

_NEWEST = "linux-image-amd64"  # depends on the suite's newest kernel
_IMAGE = re.compile(r"linux-image-(\d.*)")
_SUITE = re.compile(r"[a-z]+(-[a-z]+)*")


def build_stock(lab: Path, name: str, say: Say) -> Kernel:
    """The newest kernel of a suite (``debian:trixie``, ``debian:trixie-backports``).

    Fetched when the lab has none of that suite: 100 MB, less than a minute.
    """
    suite = name.removeprefix(STOCK)
    if not _SUITE.fullmatch(suite):
        raise UsageError(f"{name!r} names no suite of Debian: try {STOCK}trixie")
    if there := [kernel for kernel in stock_kernels(lab) if kernel.suite == suite]:
        return there[-1]
    need("a stock kernel", ["dpkg-deb", "depmod"])
    apt = fresh(lab / f"apt-{suite}", _suites(suite), say)
    release = _release(apt, suite)
    made = stock_directory(lab) / suite / release

    def take(path: Path) -> None:
        with scratch(lab / "unpacked") as place:
            for package in _packages(apt, release):
                say(f"fetching {package}")
                _unpack(apt, package, place)
            _keep(place / "tree", path, release)

    cached(made, take)
    (kernel,) = (kernel for kernel in stock_kernels(lab) if kernel.directory == made)
    say(f"ready: {kernel.image}")
    return kernel


def _suites(suite: str) -> list[str]:
    """A release of Debian is what its security archive has, too."""
    released = "-" not in suite and suite not in ("sid", "unstable", "experimental")
    return [suite, f"{suite}-security"] if released else [suite]


def _release(apt: Apt, suite: str) -> str:
    for package in apt.depends(_NEWEST):
        if match := _IMAGE.fullmatch(package):
            return match[1]
    raise LabError(f"Debian {suite}: {_NEWEST} names no kernel")


def _packages(apt: Apt, release: str) -> list[str]:
    """The image's package and those of the same release it needs: 7.3 has its modules apart."""
    found = [f"linux-image-{release}"]
    for package in found:
        more = (name for name in apt.depends(package) if name.endswith(f"-{release}"))
        found += [name for name in more if name not in found]
    return found


def _unpack(apt: Apt, package: str, place: Path) -> None:
    with scratch(place / "debs") as alone:
        run(["dpkg-deb", "-x", apt.download(package, alone), place / "tree"])


def _keep(tree: Path, path: Path, release: str) -> None:
    """Move what the lab needs of the unpacked packages to ``path``."""
    modules = next((p for p in tree.glob(f"**/lib/modules/{release}") if p.is_dir()), None)
    if modules is None or not (modules / "modules.builtin").exists():
        raise LabError(f"{release}: its packages hold no modules")
    path.mkdir()
    take_modules(modules, path, release)
    boot = tree / "boot"
    _first_of(boot / f"vmlinuz-{release}", modules / "vmlinuz").rename(path / "vmlinuz")
    config = _first_of(boot / f"config-{release}", modules / "config")
    # It stays on the side of /boot or of /lib/modules that the package has it on.
    directory = path if config.parent == boot else path / "lib" / "modules" / release
    config.rename(directory / "config")


def _first_of(*places: Path) -> Path:
    for place in places:
        if place.exists():
            return place
    raise LabError(f"the kernel's packages hold none of: {', '.join(p.name for p in places)}")
