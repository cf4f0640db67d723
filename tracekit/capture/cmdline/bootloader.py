"""Where this machine's boot loader takes the kernel's command line from, and how to extend it.

GRUB: ``/etc/default/grub.d/*.cfg``, shell code that grub-mkconfig reads (Debian, Ubuntu and others
that have the directory and whose script names it). GRUB with boot loader entries (Fedora, RHEL):
grubby, which changes every entry; nothing else there reaches the kernels that are installed.
kernel-install: ``/etc/kernel/cmdline``, one line (``kernel-install(8)``). For any other loader the
user is told what to add, and by which command. :func:`read_back` looks whether it has arrived.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from tracekit.capture.cmdline.wanted import ours, with_percent, without
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = [
    "GRUB_FILE",
    "KERNEL_CMDLINE",
    "MARK",
    "Loader",
    "entry_lines",
    "find_loader",
]

MARK = "# Installed by tracekit setup."  # the first line of our files
GRUB_FILE = "etc/default/grub.d/tracekit.cfg"
KERNEL_CMDLINE = "etc/kernel/cmdline"
_GRUB_DEFAULTS = "etc/default/grub"
_GRUB_DIRECTORY = "etc/default/grub.d"
_ENTRIES = ("boot/loader/entries", "efi/loader/entries", "boot/efi/loader/entries")
_ESPS = ("efi", "boot/efi", "boot")
_LOADER_INFO = "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)=(.*)$", re.M)
_LINUX = re.compile(r"^[ \t]*linux(?:efi)?[ \t]+(\S.*)$", re.M)
_OPTIONS = re.compile(r"^options[ \t]+(.*)$", re.M)
#: (what shows it, its name, what to do there)
_OTHERS = (
    ("ostree/repo", "rpm-ostree",
     "run: rpm-ostree kargs, with one --append-if-missing=... for each of them"),
    ("etc/NIXOS", "NixOS", "add them to boot.kernelParams, then run: nixos-rebuild boot"),
    ("boot/extlinux/extlinux.conf", "extlinux",
     "add them to the 'append' lines of /boot/extlinux/extlinux.conf, or where its generator "
     "takes them from (/etc/default/u-boot: U_BOOT_PARAMETERS, then u-boot-update)"),
    ("boot/firmware/cmdline.txt", "Raspberry Pi firmware",
     "add them to the one line of /boot/firmware/cmdline.txt"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loader:
    """The boot loader: the file to write, and what makes it take effect.

    ``path`` is relative to the root, None where no file of it is ours to write; ``update`` is the
    command that makes the parameters take effect, ``undo`` the one after they are taken away, ()
    where the user has to do it by hand; ``note`` is advice for the user. ``shown`` is where its
    entries can be read: a ``grub.cfg`` or a directory of entries, None where that is not known.
    ``parameters`` are what the kernel is to get, as this loader lets it through.
    """

    name: str
    path: str | None
    update: tuple[str, ...]
    note: str
    undo: tuple[str, ...] = ()
    shown: str | None = None
    parameters: str = ""

    def content(self, present: str) -> str:
        """The file's new content; ``present`` is what is in it now ('' if it is not there).

        grub-mkconfig copies the variable's value into grub.cfg, where GRUB expands ``$`` but not
        ``\\$``; in the double quotes of a shell that takes three backslashes.
        """
        if self.path == GRUB_FILE:
            escaped = self.parameters.replace("$", r"\\\$")
            return f'{MARK}\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {escaped}"\n'
        return f"{without(present)} {self.parameters}\n".lstrip(" ")

    @property
    def entry_words(self) -> list[str]:
        """The parameters as the entries in ``shown`` must have them."""
        menu = PurePosixPath(self.shown or "").name == "grub.cfg"
        return [word.replace("$", r"\$") if menu else word for word in self.parameters.split()]


class _System:
    """An installed system as the boot loader's detection sees it."""

    def __init__(self, root: Sysroot, which: Callable[[str], bool]) -> None:
        self.root = root
        self.which = which

    def has(self, *paths: str) -> bool:
        return any(self.root.exists(path) for path in paths)

    def text(self, path: str) -> str:
        try:
            return (self.root.get(path) or b"").decode("utf-8", "backslashreplace")
        except SourceError:
            return ""

    @property
    def entries(self) -> str | None:
        """The directory of boot loader entries, None where there is none."""
        return next((place for place in _ENTRIES if self.root.exists(place)), None)

    @property
    def grub_default(self) -> dict[str, str]:
        """The assignments of ``/etc/default/grub``; the last one of a name counts."""
        found: dict[str, str] = {}
        for name, value in _ASSIGNMENT.findall(self.text(_GRUB_DEFAULTS)):
            found[name] = value.strip("\"' \t")
        return found

    @property
    def running(self) -> str:
        """The loader that started this boot, by the EFI variable it leaves, in lower case."""
        try:
            data = self.root.get(_LOADER_INFO) or b""
        except SourceError:
            return ""
        return data[4:].decode("utf-16-le", "replace").strip("\0").lower()

    @property
    def systemd_boot(self) -> bool:
        """Whether systemd-boot starts the kernels, as far as can be seen."""
        if self.running:
            return "systemd-boot" in self.running
        installed = self.has(*(f"{esp}/EFI/systemd" for esp in _ESPS))
        return installed and not self.has("boot/grub/grub.cfg", "boot/grub2/grub.cfg")


def _mkconfig(system: _System) -> tuple[tuple[str, ...], str]:
    """(the command that makes grub.cfg anew, the path of grub.cfg below the root)."""
    two = system.has("boot/grub2") or (
        system.which("grub2-mkconfig") and not system.has("boot/grub")
    )
    path = f"boot/grub{'2' if two else ''}/grub.cfg"
    if system.which("update-grub"):
        return ("update-grub",), path
    return (f"grub{'2' if two else ''}-mkconfig", "-o", f"/{path}"), path


def _name(word: str) -> str:
    return word.partition("=")[0]


def _grubby(names: set[str], args: Sequence[str]) -> tuple[str, ...]:
    """What leaves of the parameters of these names just ``args``.

    grubby replaces all parameters of a name by the ones that are added, and takes
    ``--remove-args=NAME=VALUE`` for a regular expression (``update_args()`` in ``grubby-bls``).
    """
    left_out = sorted(names - {_name(word) for word in args})
    remove = (f"--remove-args={' '.join(left_out)}",) if left_out else ()
    add = (f"--args={' '.join(args)}",) if args else ()
    return ("grubby", "--update-kernel=ALL", *remove, *add)


def _with_entries(system: _System, entries: str, wanted: str) -> Loader:
    """GRUB that reads boot loader entries: Fedora, RHEL and their kin."""
    name = "GRUB with boot loader entries"
    lines = entry_lines(system.root, entries)
    stale = {word for line in lines for word in ours(line)}
    words = wanted.split()
    names = {_name(word) for word in (*stale, *words)}
    # parameters of the same names that are somebody else's
    kept = {tuple(w for w in line.split() if _name(w) in names - {"kho"} and w not in stale)
            for line in lines}  # fmt: skip
    if len(kept) > 1:
        note = (
            "the entries differ in parameters of these names, and grubby replaces all of a name: "
            "for every kernel run grubby --update-kernel=IMAGE --args=..., with its own and these"
        )
        return Loader(name, None, (), note, (), entries)
    others = next(iter(kept), ())
    lack = "" if system.which("grubby") else "; it is not installed: install it first"
    return Loader(
        name,
        None,
        _grubby(names, (*others, *words)),
        "grubby changes every entry; what is edited by hand, in an entry or in /etc/default/grub, "
        f"does not reach the next kernel or the present ones{lack}",
        _grubby(names, others) if stale else (),
        entries,
    )


def _plain_grub(system: _System) -> Loader:
    """GRUB whose menu grub-mkconfig writes."""
    update, menu = _mkconfig(system)
    scripts = [system.text(f"usr/{d}/{n}") for d in ("sbin", "bin")
               for n in ("grub-mkconfig", "grub2-mkconfig")]  # fmt: skip
    script = next((text for text in scripts if text), "")
    if system.has(_GRUB_DIRECTORY) and (not script or "default/grub.d" in script):
        note = "takes effect at the next boot through GRUB"
        return Loader("GRUB", GRUB_FILE, update, note, update, menu)
    note = f"add them to GRUB_CMDLINE_LINUX in /{_GRUB_DEFAULTS}, then run: {shlex.join(update)}"
    return Loader("GRUB", None, (), note, (), menu)


def _kernel_install(system: _System, name: str) -> Loader:
    if system.which("sdbootutil"):
        update: tuple[str, ...] = ("sdbootutil", "update-all-entries")
        note = "the parameters are appended to what is there; takes effect at the next boot"
    else:
        update = ("kernel-install", "add-all")
        note = (
            "the parameters are appended to what is there; takes effect at the next boot (before "
            "systemd 255 instead of add-all, for every kernel: kernel-install add VERSION IMAGE)"
        )
    return Loader(name, KERNEL_CMDLINE, update, note, update, system.entries)


def _by_hand(system: _System) -> Loader | None:
    """Loaders that are known, but whose files are left to the user."""
    if system.has("etc/zipl.conf"):
        lines, file = "the 'options' lines of the entries", "parameters= in /etc/zipl.conf"
        place = lines if system.entries else file
        note = f"add them to {place}, then run: zipl"
        return Loader("zipl", None, (), note, (), system.entries)
    for mark, name, note in _OTHERS:
        if system.has(mark):
            return Loader(name, None, (), note)
    return None


def find_loader(root: Sysroot, which: Callable[[str], bool], wanted: str) -> Loader:
    """The boot loader of the system below ``root``, and what brings it the ``wanted`` parameters.

    ``which`` tells whether a program is there. A ``$`` in ``wanted`` is left only where it is known
    to get through: escaped in grub.cfg, and in entries that systemd-boot itself reads. GRUB expands
    it in entries, and there is no escape (``expand_val()`` in its ``blscfg.c``).
    """
    system = _System(root, which)
    loader = _detect(system, with_percent(wanted))
    by_systemd = system.systemd_boot and system.entries and not which("sdbootutil")
    literal = loader.path == GRUB_FILE or (loader.path == KERNEL_CMDLINE and by_systemd)
    return replace(loader, parameters=wanted if literal else with_percent(wanted))


def _detect(system: _System, wanted: str) -> Loader:
    which = system.which
    if (known := _by_hand(system)) is not None:
        return known
    entries = system.entries
    blscfg = system.grub_default.get("GRUB_ENABLE_BLSCFG", "").lower()
    grub = blscfg == "true" or (blscfg != "false" and system.has("boot/grub2"))
    if entries is not None and grub and not system.systemd_boot and not which("sdbootutil"):
        return _with_entries(system, entries, wanted)
    has_line = system.has(KERNEL_CMDLINE)
    by_systemd = system.systemd_boot or not system.has(_GRUB_DEFAULTS)
    if has_line and (by_systemd or which("sdbootutil")):
        name = "systemd-boot, by kernel-install" if entries else "kernel-install"
        return _kernel_install(system, name)
    if system.has(_GRUB_DEFAULTS) and not system.systemd_boot:
        return _plain_grub(system)
    if entries is not None or system.systemd_boot:
        place = f"the entry in /{entries}/" if entries else "the entry of systemd-boot"
        return Loader(
            "systemd-boot",
            None,
            (),
            f"add them to the 'options' line of {place}, or put the whole "
            "command line into /etc/kernel/cmdline and run this again",
            (),
            entries,
        )
    if system.has("boot/grub2/grub.cfg", "boot/grub/grub.cfg"):
        _, menu = _mkconfig(system)
        note = f"there is no /{_GRUB_DEFAULTS}: add them to the 'linux' lines of /{menu}"
        return Loader("GRUB", None, (), note, (), menu)
    return Loader("unknown", None, (), "add them to the kernel's command line in the boot loader")


def entry_lines(root: Sysroot, shown: str) -> list[str]:
    """The command line of every entry of ``Loader.shown``, a grub.cfg or a directory of entries.

    Variables of GRUB's environment block are replaced. Raises
    :class:`~tracekit.errors.SourceError` where they cannot be read.
    """
    if PurePosixPath(shown).name == "grub.cfg":
        text = (root.get(shown) or b"").decode("utf-8", "backslashreplace")
        return _LINUX.findall(text)
    values: dict[str, str] = {}
    for place in ("boot/grub2/grubenv", "boot/grub/grubenv"):
        block = (root.get(place) or b"").decode("utf-8", "backslashreplace")
        values |= dict(re.findall(r"^(\w+)=(.*)$", block, re.M))
    lines: list[str] = []
    for name in root.names(shown):
        if name.endswith(".conf"):
            text = (root.get(f"{shown}/{name}") or b"").decode("utf-8", "backslashreplace")
            options = " ".join(_OPTIONS.findall(text))
            if "linux" in text or "efi" in text:
                lines.append(re.sub(r"\$(\w+)", lambda m: values.get(m[1], m[0]), options))
    return lines
