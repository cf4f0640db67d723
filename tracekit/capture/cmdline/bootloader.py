"""Where this machine's boot loader takes the kernel's command line from, and how to extend it.

GRUB: ``/etc/default/grub.d/*.cfg``, shell code that grub-mkconfig reads (Debian, Ubuntu and others
that have the directory). kernel-install: ``/etc/kernel/cmdline``, one line
(``kernel-install(8)``). For any other loader the user is told what to add by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tracekit.errors import UsageError

__all__ = ["GRUB_FILE", "KERNEL_CMDLINE", "MARK", "Loader", "find_loader", "parameters"]

MARK = "# Installed by tracekit setup."  # the first line of our files
GRUB_FILE = "etc/default/grub.d/tracekit.cfg"
KERNEL_CMDLINE = "etc/kernel/cmdline"
_GRUB_DEFAULTS = "etc/default/grub"
_GRUB_DIRECTORY = "etc/default/grub.d"
_ENTRIES = ("boot/loader/entries", "efi/loader/entries", "boot/efi/loader/entries")
_SIZE = re.compile(r"[1-9][0-9]{0,9}[KMG]?")
_ALIGN = "2M"  # a huge page, so the direct map is not split for it


@dataclass(frozen=True, slots=True)
class Loader:
    """The boot loader: the file to write, and what makes it take effect.

    ``path`` is relative to the root, None where the user has to do it by hand; ``update`` is the
    command to run after writing it; ``note`` is advice for the user.
    """

    name: str
    path: str | None
    update: tuple[str, ...]
    note: str

    def content(self, wanted: str, present: str) -> str:
        """The file's new content; ``present`` is what is in it now ('' if it is not there)."""
        if self.path == GRUB_FILE:
            return f'{MARK}\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {wanted}"\n'
        return f"{without(present)} {wanted}\n".lstrip(" ")


def parameters(size: str) -> str:
    """What the first kernel of a chain needs on its command line.

    Two regions of ``size`` (``4M``), one for each of two kernels in turn. Raises
    :class:`~tracekit.errors.UsageError`.
    """
    if _SIZE.fullmatch(size) is None:
        raise UsageError(f"--size {size!r}: write a number of bytes with K, M or G, as in 4M")
    regions = " ".join(f"reserve_mem={size}:{_ALIGN}:{name}" for name in ("tkA", "tkB"))
    return f"kho=on {regions} trace_instance=tk^traceoff@tkA"


def without(cmdline: str) -> str:
    """A command line without what :func:`parameters` adds; comment lines stay, and come first."""
    ours = re.compile(r"kho=on|reserve_mem=[^\s:]+:[^\s:]+:tk[AB]|trace_instance=tk\^traceoff@tkA")
    comments = [line for line in cmdline.splitlines() if line.startswith("#")]
    lines = [line for line in cmdline.splitlines() if not line.startswith("#")]
    words = (word for word in " ".join(lines).split() if not ours.fullmatch(word))
    return "\n".join((*comments, " ".join(words)))


def find_loader(exists: Callable[[str], bool], which: Callable[[str], bool]) -> Loader:
    """The boot loader; ``exists`` looks for files below the root, ``which`` for programs."""
    if exists(_GRUB_DEFAULTS) and exists(_GRUB_DIRECTORY):
        update = ("update-grub",) if which("update-grub") else (
            "grub-mkconfig", "-o", "/boot/grub/grub.cfg",
        )  # fmt: skip
        return Loader("GRUB", GRUB_FILE, update, "takes effect at the next boot through GRUB")
    if exists(KERNEL_CMDLINE):
        return Loader(
            "kernel-install",
            KERNEL_CMDLINE,
            ("kernel-install", "add-all"),
            "the parameters are appended to what is there; takes effect at the next boot",
        )
    entries = next((place for place in _ENTRIES if exists(place)), None)
    if entries is not None:
        return Loader(
            "systemd-boot",
            None,
            (),
            f"add them to the 'options' line of the entry in /{entries}/, or put the whole "
            "command line into /etc/kernel/cmdline and run this again",
        )
    if exists(_GRUB_DEFAULTS):
        return Loader(
            "GRUB",
            None,
            (),
            f"add them to GRUB_CMDLINE_LINUX in /{_GRUB_DEFAULTS} and make grub.cfg anew",
        )
    return Loader("unknown", None, (), "add them to the kernel's command line in the boot loader")
