"""The images a guest boots from: the root file system, the initramfs, and the disk of one run."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import tracekit
from tracekit.errors import LabError
from tracekit.lab.kernels import Kernel
from tracekit.lab.modules import ORDER
from tracekit.lab.newc import Member, newc
from tracekit.lab.store import cached, digest
from tracekit.lab.tools import Say, need, run

__all__ = ["data_disk", "initramfs", "root_image", "root_image_path"]

_SUITE = "trixie"
_PACKAGES = (
    "dbus",
    "kexec-tools",
    "kmod",
    "procps",
    "python3",
    "python3-bpfcc",
    "python3-click",
    "python3-pyelftools",
    "python3-rich",
    "python3-zstandard",
    "systemd",
    "systemd-sysv",
    "trace-cmd",
    "udev",
    "xz-utils",
)
# Not compressed: under software emulation, unpacking costs more than reading.
_SQUASHFS = ("-noI", "-noD", "-noF", "-noX", "-no-xattrs", "-quiet", "-no-progress")
_GUEST = ("driver", "plain", "tracekit", "tracekit-lab.service")
_DIRECTORIES = ("bin", "dev", "lab", "lower", "modules", "proc", "root", "sys")


def root_image_path(lab: Path) -> Path:
    """Where the root image of this version of the lab lies, built or not."""
    return lab / f"root-{digest([_SUITE, _PACKAGES, _SQUASHFS])}.squashfs"


def root_image(lab: Path, say: Say) -> Path:
    """The guests' root file system, a squashfs image of Debian; built from packages once."""

    def make(path: Path) -> None:
        unprivileged = ["newuidmap"] if os.geteuid() else []
        tools = need("the lab's root image", ["mmdebstrap", "sqfstar", *unprivileged])
        say(f"root image: Debian {_SUITE} with {len(_PACKAGES)} packages and what they need")
        _bootstrap(tools, path, say)

    return cached(root_image_path(lab), make)


def _bootstrap(tools: dict[str, str], path: Path, say: Say) -> None:
    # By way of a file: sqfstar ends at the archive's end mark, and what pads it breaks a pipe.
    tree = path.with_suffix(".tar")
    bootstrap = [tools["mmdebstrap"], "--variant=minbase", "--format=tar"]

    def tell(line: str) -> None:
        if line.startswith("I: "):
            say(f"  {line.removeprefix('I: ')}")

    run([*bootstrap, f"--include={','.join(_PACKAGES)}", _SUITE, tree], line=tell)
    run([tools["sqfstar"], *_SQUASHFS, path], source=tree)


def _shipped(name: str) -> bytes:
    return (files("tracekit.lab") / "guest" / name).read_bytes()


def _busybox() -> Path:
    path = Path(need("the lab's initramfs", ["busybox"])["busybox"])
    data = path.read_bytes()
    if b"/ld-linux" in data[:4096]:
        raise LabError(
            f"{path}: needs shared libraries, which an initramfs has not\n"
            "next: sudo apt-get install busybox-static"
        )
    return path


def initramfs(kernels: Iterable[Kernel] = ()) -> bytes:
    """The initramfs of every boot: busybox and ``guest/init``, as a cpio archive.

    It serves each of ``kernels``: those that have no virtio and no file systems built in find
    them as modules.
    """
    directories = [Member(name, stat.S_IFDIR | 0o755) for name in _DIRECTORIES]
    modules = [member for kernel in kernels if kernel.stock for member in _modules(kernel)]
    return newc(
        [
            *directories,
            Member("bin/busybox", stat.S_IFREG | 0o755, _busybox().read_bytes()),
            Member("init", stat.S_IFREG | 0o755, _shipped("init")),
            *modules,
        ]
    )


def _module_tree(kernel: Kernel) -> Path:
    assert kernel.directory is not None
    return kernel.directory / "lib" / "modules" / kernel.release


def _modules(kernel: Kernel) -> list[Member]:
    """``modules/RELEASE/``: the modules, and the list of them in the order of loading."""
    source, place = _module_tree(kernel), f"modules/{kernel.release}"
    paths = [source / line for line in (source / ORDER).read_text().split()]
    names = "".join(f"{path.name}\n" for path in paths)
    return [
        Member(place, stat.S_IFDIR | 0o755),
        Member(f"{place}/order", stat.S_IFREG | 0o644, names.encode()),
        *(Member(f"{place}/{p.name}", stat.S_IFREG | 0o644, p.read_bytes()) for p in paths),
    ]


def _copy_kernels(tree: Path, kernels: Iterable[Kernel]) -> None:
    """What a machine has of its kernels in /boot (``images``) and /lib/modules (``modules``)."""
    for name in ("images", "modules"):
        (tree / name).mkdir(parents=True)
    for kernel in kernels:
        shutil.copyfile(kernel.image, tree / "images" / f"vmlinuz-{kernel.release}")
        if kernel.directory is None:
            continue
        shutil.copytree(_module_tree(kernel), tree / "modules" / kernel.release)
        config = kernel.directory / "config"
        if config.exists():
            shutil.copyfile(config, tree / "images" / f"config-{kernel.release}")


def _copy_code(target: Path) -> None:
    """Copy the tracekit that runs now, for the guest to run."""
    package = Path(tracekit.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "demo", ".*")
    shutil.copytree(package, target / "tracekit", ignore=ignored)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def data_disk(
    directory: Path,
    kernels: Iterable[Kernel],
    scripts: dict[str, str],
    cache: Path,
    *,
    systemd: bool,
    patience: int,
    size: int = 4 << 30,
) -> Path:
    """An ext4 image that lives as long as one run: kernels, code, scripts, and the guest's state.

    ``scripts`` is file name (``boot0``) -> text, ``cache`` what is to be in ``/var/cache/tracekit``
    (a directory, if it is there), ``patience`` is how long the guest waits for a
    jump that a script asked for, in seconds; ``size`` is in bytes (the file is sparse).
    """
    kernels = list(kernels)
    tree = directory / "data"
    (tree / "state").mkdir(parents=True)
    (tree / "state").chmod(0o700)
    _copy_kernels(tree, kernels)
    _write(tree / "images" / "initrd", initramfs(kernels))
    _copy_code(tree / "code")
    if cache.is_dir():
        shutil.copytree(cache, tree / "cache")
    else:
        (tree / "cache").mkdir()
    for name, text in scripts.items():
        whole = text if text.startswith("#!") else f"#!/bin/sh -eu\n{text}"
        _write(tree / "scripts" / name, whole.encode(), 0o755)
    for name in _GUEST:
        _write(tree / "guest" / name, _shipped(name), 0o755)
    shutil.copyfile(_busybox(), tree / "guest" / "busybox")
    (tree / "guest" / "busybox").chmod(0o755)
    _write(tree / "patience", b"%d\n" % patience)
    if systemd:
        _write(tree / "systemd", b"")
    image = directory / "data.img"
    image.touch(mode=0o600)
    os.truncate(image, size)
    mke2fs = need("the lab's data disk", ["mke2fs"])["mke2fs"]
    options = "root_owner=0:0,lazy_itable_init=1,nodiscard"
    run([mke2fs, "-q", "-F", "-t", "ext4", "-J", "size=16", "-E", options, "-d", tree, image])
    shutil.rmtree(tree)
    return image
