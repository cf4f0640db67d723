"""``tracekit setup``: shows or installs the kernel's command line and the systemd units.

Files are written below a root directory under a temporary name and then renamed; no symlink on the
way is followed. A file that is not ours is never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tracekit.capture.cmdline.bootloader import (
    GRUB_FILE,
    KERNEL_CMDLINE,
    MARK,
    Loader,
    find_loader,
)
from tracekit.capture.cmdline.choice import parameters_for
from tracekit.capture.cmdline.readback import ReadBack, read_back
from tracekit.capture.cmdline.session_param import SESSIONS
from tracekit.capture.cmdline.wanted import without
from tracekit.errors import SourceError, UsageError
from tracekit.session.files import Directory, write_all
from tracekit.sysroot import Sysroot

__all__ = ["UNITS", "Options", "Plan", "apply", "check_arrived", "make_plan", "start", "undo"]

#: The units that are installed, and the target that wants each at boot.
UNITS = {
    "tracekit-recover.service": "basic.target",
    "tracekit-record.service": "basic.target",
    "tracekit-snapshot.service": "basic.target",
    "tracekit-load.service": "multi-user.target",
}
#: What node_exporter's textfile collector reads as distributions set it up.
_COLLECTED = ("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter/textfile_collector")
_METRICS = "/var/lib/tracekit-metrics"  # made by the report; not a StateDirectory=, without which
# nothing would be recovered where it cannot be made
_UNIT_DIRECTORY = "etc/systemd/system"
_MOST = 1 << 20  # bytes of a file that is looked into
_WORD = re.compile(r"[A-Za-z0-9_@:=,./+~-]+")  # needs no quotes, neither in systemd nor in a shell
_PATIENCE = 600  # seconds allowed for update-grub and the like


@dataclass(frozen=True, slots=True)
class Options:
    """What to install. Paths are those of the installed system; None: the default.

    ``carrier`` is ``kho`` or ``carveout``; ``address`` is the carve-out's. ``metrics`` is the file
    that the metrics of each recovery go to.
    """

    root: Path = Path("/")
    size: str | None = None
    session: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    program: str | None = None
    carrier: str | None = None
    address: int | None = None
    metrics: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to install: the parameters, the boot loader, and path below the root -> content.

    ``carrier`` is the chosen one, ``why`` says why; ``before`` is what the boot loader's file holds
    until then, None where there is none.
    """

    carrier: str
    why: str
    loader: Loader
    before: str | None
    files: dict[str, str]
    kernel: str
    initrd: str | None

    @property
    def parameters(self) -> str:
        """What the kernel is to get on its command line."""
        return self.loader.parameters


def _word(text: str, option: str) -> str:
    if _WORD.fullmatch(text) is None:
        raise UsageError(
            f"{option} {text!r}: only letters, digits and @:=,./+~_- can stand in a unit file"
        )
    return text


def _absolute(text: str, option: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        raise UsageError(f"{option} {text!r}: give an absolute path of the installed system")
    return _word(text, option)


def _program(command: str | None) -> str:
    """How units call tracekit: the program that is running, unless another is named."""
    if command is not None:
        words = shlex.split(command)
    else:
        path = shutil.which("tracekit") or shutil.which(sys.argv[0])
        words = [os.path.abspath(path)] if path else [sys.executable, "-P", "-m", "tracekit"]  # noqa: PTH100
    if not words or not words[0].startswith("/"):
        raise UsageError(f"--program {command!r}: begin with the absolute path of a program")
    return " ".join(_word(word, "--program") for word in words)


def _exists(root: Path, path: str) -> bool:
    return os.path.lexists(root / path.lstrip("/"))


def _kernel(options: Options) -> tuple[str, str | None]:
    """The kernel that the load unit loads, and its initramfs."""
    release = os.uname().release
    kernel = _absolute(options.kernel or f"/boot/vmlinuz-{release}", "--kernel")
    if options.initrd is not None:
        return kernel, _absolute(options.initrd, "--initrd") if options.initrd else None
    version = Path(kernel).name.partition("-")[2] or release
    for name in (f"initrd.img-{version}", f"initramfs-{version}.img", f"initrd-{version}"):
        path = f"{Path(kernel).parent}/{name}"
        if _exists(options.root, path):
            return kernel, path
    return kernel, None


def _metrics(options: Options) -> str:
    """Where the metrics go: into the folder that node_exporter reads, if it is there."""
    if options.metrics is not None:
        return _absolute(options.metrics, "--metrics")
    return f"{next((p for p in _COLLECTED if _exists(options.root, p)), _METRICS)}/tracekit.prom"


def make_plan(options: Options) -> Plan:
    """What is to be installed. Raises :class:`~tracekit.errors.UsageError`."""
    carrier, why, wanted = parameters_for(
        _system(options.root), options.carrier, options.size, options.address, options.kernel
    )
    session = _absolute(options.session, "--session") if options.session else None
    kernel, initrd = _kernel(options)
    values = {
        "TRACEKIT": _program(options.program),
        "OUTPUT": f" -o {session}" if session else "",
        "SESSION": f" {session}" if session else "",
        "SESSIONS": session or str(SESSIONS),
        "RECOVERED": "" if session else " --recovered",
        "METRICS": _metrics(options),
        "KERNEL": kernel,
        "INITRD": f" --initrd {initrd}" if initrd else "",
    }
    content: dict[str, str] = {}
    for unit in UNITS:
        text = files("tracekit.capture.cmdline").joinpath("units", unit).read_text("utf-8")
        content[f"{_UNIT_DIRECTORY}/{unit}"] = re.sub(
            r"@([A-Z]+)@", lambda match: values[match[1]], text
        )
    loader = _loader(options.root, wanted)
    before = _read(options.root, loader.path) if loader.path is not None else None
    if loader.path is not None:
        content[loader.path] = loader.content(before or "")
    return Plan(carrier, why, loader, before, content, kernel, initrd)


def _loader(root: Path, wanted: str) -> Loader:
    def which(name: str) -> bool:
        return any(_exists(root, f"usr/{place}/{name}") for place in ("sbin", "bin"))

    return find_loader(_system(root), which, wanted)


def _system(root: Path) -> Sysroot:
    if not root.is_dir():
        raise SourceError(f"{root}: no such directory: --root needs the root of a system")
    return Sysroot(root)


def check_arrived(options: Options, loader: Loader, wanted: str) -> ReadBack:
    """Look into the boot loader's entries: ``wanted`` as in :func:`readback.read_back`."""
    return read_back(_system(options.root), loader, wanted)


@contextlib.contextmanager
def _below(root: Path) -> Iterator[Directory]:
    try:
        directory = Directory(root)
    except OSError as error:
        raise SourceError(f"{root}: {error.strerror}: --root needs a directory") from error
    try:
        yield directory
    finally:
        directory.close()


@contextlib.contextmanager
def _guard(root: Path, rel: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            why = "a symlink is in the way, and none is followed"
        hint = ": be root" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise SourceError(f"{root / rel}: {why}{hint}") from error


def _read(root: Path, rel: str) -> str | None:
    with _below(root) as directory, _guard(root, rel):
        try:
            return directory.read(rel, _MOST).decode("utf-8", "backslashreplace")
        except FileNotFoundError:
            return None


def _make_parents(directory: Directory, rel: str) -> None:
    """Create the directories that hold ``rel``, mode 0755 like the system's own."""
    parts = rel.split("/")
    for depth in range(1, len(parts)):
        with (
            directory.parent("/".join(parts[:depth])) as (fd, name),
            contextlib.suppress(FileExistsError),
        ):
            os.mkdir(name, 0o755, dir_fd=fd)


def _write(root: Path, directory: Directory, rel: str, content: str) -> None:
    """Write a world-readable file atomically."""
    with _guard(root, rel):
        _make_parents(directory, rel)
        with directory.parent(rel) as (fd, name):
            part = f".{name}.tracekit-part"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(part, flags, 0o644, dir_fd=fd)
            try:
                os.fchmod(file, 0o644)
                write_all(file, content.encode("utf-8"))
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(part, name, src_dir_fd=fd, dst_dir_fd=fd)
            os.fsync(fd)


def _foreign(present: str | None, rel: str) -> bool:
    """Whether a file exists that is not ours; ``/etc/kernel/cmdline`` is shared, so never is."""
    return present is not None and rel != KERNEL_CMDLINE and not present.startswith(MARK)


def _wanted_by(unit: str) -> str:
    return f"{_UNIT_DIRECTORY}/{UNITS[unit]}.wants/{unit}"


def _enable(root: Path, directory: Directory, unit: str) -> None:
    """As ``systemctl enable`` does: a symlink in the target's ``.wants`` directory."""
    link = _wanted_by(unit)
    target = f"../{unit}"
    with _guard(root, link):
        _make_parents(directory, link)
        with directory.parent(link) as (fd, name), contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=fd)


def apply(options: Options, plan: Plan) -> list[str]:
    """Install what ``plan`` says; returns one line for each thing done.

    Raises :class:`~tracekit.errors.SourceError`, before anything is written, when a file that is
    not ours is in the way.
    """
    present = {rel: _read(options.root, rel) for rel in plan.files}
    foreign = [str(options.root / rel) for rel, text in present.items() if _foreign(text, rel)]
    if foreign:
        raise SourceError(
            f"{', '.join(foreign)}: not written by tracekit setup, and not replaced: "
            "move it away first"
        )
    done: list[str] = []
    with _below(options.root) as directory:
        for rel, content in plan.files.items():
            if present[rel] == content:
                done.append(f"as it was: {options.root / rel}")
                continue
            _write(options.root, directory, rel, content)
            if _read(options.root, rel) != content:
                raise SourceError(f"{options.root / rel}: does not hold what was written to it")
            verb = "wrote" if present[rel] is None else "changed"
            done.append(f"{verb}: {options.root / rel}")
        for unit in UNITS:
            _enable(options.root, directory, unit)
    return done


def undo(options: Options) -> tuple[list[str], Loader]:
    """Remove what :func:`apply` has installed; returns what was done, and the boot loader."""
    done: list[str] = []
    with _below(options.root) as directory:
        for unit in UNITS:
            link = _wanted_by(unit)
            with _guard(options.root, link):
                directory.remove(link)
        for rel in (*(f"{_UNIT_DIRECTORY}/{unit}" for unit in UNITS), GRUB_FILE):
            present = _read(options.root, rel)
            if present is None:
                continue
            if _foreign(present, rel):
                done.append(f"left alone, for tracekit setup has not written it: {rel}")
                continue
            with _guard(options.root, rel):
                directory.remove(rel)
            done.append(f"removed: {options.root / rel}")
        line = _read(options.root, KERNEL_CMDLINE)
        if line is not None and without(line).split() != line.split():
            _write(options.root, directory, KERNEL_CMDLINE, without(line) + "\n")
            done.append(f"changed: {options.root / KERNEL_CMDLINE}")
    return done, _loader(options.root, "")


def take_back(options: Options, plan: Plan) -> list[str]:
    """Put the boot loader's file back as it was, and make that take effect.

    Returns one line for each command that failed.
    """
    path = plan.loader.path
    if path is not None:
        with _below(options.root) as directory:
            if plan.before is None:
                with _guard(options.root, path):
                    directory.remove(path)
            else:
                _write(options.root, directory, path, plan.before)
    undo_it = _loader(options.root, "").undo
    return start([undo_it] if undo_it else [])


def start(commands: Sequence[Sequence[str]]) -> list[str]:
    """Run commands on the live machine; returns one line for each that failed."""
    failures: list[str] = []
    for command in commands:
        try:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            failures.append(f"{shlex.join(command)}: {error}")
            continue
        if done.returncode != 0:
            output = done.stdout.decode("utf-8", "backslashreplace").strip()[-400:]
            failures.append(f"{shlex.join(command)}: exit code {done.returncode}: {output}")
    return failures
