"""``tracekit setup``: shows or installs the kernel's command line and the systemd units.

Files are written below a root directory under a temporary name and then renamed; no symlink on the
way is followed. A file that is not ours is never replaced.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tracekit.capture.cmdline.below import (
    below,
    link,
    put,
    read,
    refuse_foreign,
    remove,
    take_away,
    write,
)
from tracekit.capture.cmdline.bootloader import (
    GRUB_FILE,
    KERNEL_CMDLINE,
    Loader,
    find_loader,
)
from tracekit.capture.cmdline.choice import parameters_for
from tracekit.capture.cmdline.readback import ReadBack, read_back
from tracekit.capture.cmdline.session_param import SESSIONS
from tracekit.capture.cmdline.templates import absolute, program, template
from tracekit.capture.cmdline.wanted import without
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = [
    "AFTER_RECOVER",
    "UNITS",
    "UNIT_DIRECTORY",
    "Options",
    "Plan",
    "apply",
    "check_arrived",
    "make_plan",
    "start",
    "undo",
]

#: The units that are installed, and the target that wants each at boot.
UNITS = {
    "tracekit-recover.service": "basic.target",
    "tracekit-record.service": "basic.target",
    "tracekit-snapshot.service": "basic.target",
    "tracekit-load.service": "multi-user.target",
}
#: Installed where sessions are handed on; tracekit-recover.service starts it.
AFTER_RECOVER = "tracekit-after-recover.service"
#: What node_exporter's textfile collector reads as distributions set it up.
_COLLECTED = ("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter/textfile_collector")
_METRICS = "/var/lib/tracekit-metrics"  # made by the report; not a StateDirectory=, without which
# nothing would be recovered where it cannot be made
#: Where units of the administrator are.
UNIT_DIRECTORY = "etc/systemd/system"
_PATIENCE = 600  # seconds allowed for update-grub and the like


@dataclass(frozen=True, slots=True)
class Options:
    """What to install. Paths are those of the installed system; None: the default.

    ``carrier`` is ``kho`` or ``carveout``; ``address`` is the carve-out's. ``metrics`` is the file
    that the metrics of each recovery go to. ``after_recover``: a directory (an absolute path that
    ends in /) that finished sessions are copied to, or a command that gets their path.
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
    after_recover: str | None = None


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


def _exists(root: Path, path: str) -> bool:
    return os.path.lexists(root / path.lstrip("/"))


def _kernel(options: Options) -> tuple[str, str | None]:
    """The kernel that the load unit loads, and its initramfs."""
    release = os.uname().release
    kernel = absolute(options.kernel or f"/boot/vmlinuz-{release}", "--kernel")
    if options.initrd is not None:
        return kernel, absolute(options.initrd, "--initrd") if options.initrd else None
    version = Path(kernel).name.partition("-")[2] or release
    for name in (f"initrd.img-{version}", f"initramfs-{version}.img", f"initrd-{version}"):
        path = f"{Path(kernel).parent}/{name}"
        if _exists(options.root, path):
            return kernel, path
    return kernel, None


def _metrics(options: Options) -> str:
    """Where the metrics go: into the folder that node_exporter reads, if it is there."""
    if options.metrics is not None:
        return absolute(options.metrics, "--metrics")
    return f"{next((p for p in _COLLECTED if _exists(options.root, p)), _METRICS)}/tracekit.prom"


def _handed_on(target: str) -> str:
    """How the unit's command names where sessions go."""
    if target.startswith("/") and target.endswith("/"):
        return f"--to {absolute(target, '--after-recover')}"
    command = program(target, "--after-recover")
    return f"--run '{command}'" if " " in command else f"--run {command}"


def make_plan(options: Options) -> Plan:
    """What is to be installed. Raises :class:`~tracekit.errors.UsageError`."""
    carrier, why, wanted = parameters_for(
        _system(options.root), options.carrier, options.size, options.address, options.kernel
    )
    session = absolute(options.session, "--session") if options.session else None
    kernel, initrd = _kernel(options)
    values = {
        "TRACEKIT": program(options.program),
        "OUTPUT": f" -o {session}" if session else "",
        "SESSION": f" {session}" if session else "",
        "SESSIONS": session or str(SESSIONS),
        "RECOVERED": "" if session else " --recovered",
        "METRICS": _metrics(options),
        "KERNEL": kernel,
        "INITRD": f" --initrd {initrd}" if initrd else "",
        "AFTER": f"\nOnSuccess={AFTER_RECOVER}" if options.after_recover else "",
        "HANDON": _handed_on(options.after_recover) if options.after_recover else "",
    }
    content: dict[str, str] = {}
    for unit in (*UNITS, *((AFTER_RECOVER,) if options.after_recover else ())):
        content[f"{UNIT_DIRECTORY}/{unit}"] = template(unit, values)
    loader = _loader(options.root, wanted)
    before = read(options.root, loader.path) if loader.path is not None else None
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


def _wanted_by(unit: str) -> str:
    return f"{UNIT_DIRECTORY}/{UNITS[unit]}.wants/{unit}"


def apply(options: Options, plan: Plan) -> list[str]:
    """Install what ``plan`` says; returns one line for each thing done.

    Raises :class:`~tracekit.errors.SourceError`, before anything is written, when a file that is
    not ours is in the way.
    """
    present = {rel: read(options.root, rel) for rel in plan.files}
    # /etc/kernel/cmdline is shared, so never another's
    refuse_foreign(options.root, {p: t for p, t in present.items() if p != KERNEL_CMDLINE})
    with below(options.root) as directory:
        if options.after_recover is None:
            take_away(options.root, directory, f"{UNIT_DIRECTORY}/{AFTER_RECOVER}")
        done = [
            put(options.root, directory, rel, content, present[rel])
            for rel, content in plan.files.items()
        ]
        for unit in UNITS:
            link(options.root, directory, _wanted_by(unit), f"../{unit}")
    return done


def undo(options: Options) -> tuple[list[str], Loader]:
    """Remove what :func:`apply` has installed; returns what was done, and the boot loader."""
    files = (*(f"{UNIT_DIRECTORY}/{unit}" for unit in (*UNITS, AFTER_RECOVER)), GRUB_FILE)
    with below(options.root) as directory:
        for unit in UNITS:
            remove(options.root, directory, _wanted_by(unit))
        done = [d for f in files if (d := take_away(options.root, directory, f)) is not None]
        line = read(options.root, KERNEL_CMDLINE)
        if line is not None and without(line).split() != line.split():
            write(options.root, directory, KERNEL_CMDLINE, without(line) + "\n")
            done.append(f"changed: {options.root / KERNEL_CMDLINE}")
    return done, _loader(options.root, "")


def take_back(options: Options, plan: Plan) -> list[str]:
    """Put the boot loader's file back as it was, and make that take effect.

    Returns one line for each command that failed.
    """
    path = plan.loader.path
    if path is not None:
        with below(options.root) as directory:
            if plan.before is None:
                remove(options.root, directory, path)
            else:
                write(options.root, directory, path, plan.before)
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
