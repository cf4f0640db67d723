"""``tracekit setup --crash``: what makes a crash kernel save the dead one's trace buffers.

One systemd unit serves every crash kernel that boots the system: Debian's kdump-tools, whose own
unit is the only other one there, and what ``kexec -p`` loaded by hand. Fedora's kdump stays in an
initramfs: there it is a script in ``/etc/kdump/pre.d`` and a line in ``/etc/kdump.conf``.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from tracekit.capture.cmdline.bootloader import MARK
from tracekit.capture.cmdline.kdump_conf import DEBIAN, FEDORA, USER_DATA, collectors
from tracekit.capture.cmdline.session_param import SESSIONS
from tracekit.capture.cmdline.setup import UNIT_DIRECTORY
from tracekit.capture.cmdline.templates import absolute, program, template
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.parameters import split_parameters
from tracekit.sysroot import Sysroot

__all__ = ["HOOK", "UNIT", "CrashPlan", "install_crash", "plan_crash", "undo_crash"]

UNIT = "tracekit-crash.service"
HOOK = "etc/kdump/pre.d/tracekit"
_UNIT = f"{UNIT_DIRECTORY}/{UNIT}"
#: The last two are Debian's: their crash kernels start nothing else.
_WANTING = ("basic.target", "kdump-tools-dump.service", "kdump-tools.service")
_CHROOT = "usr/sbin/chroot"
_BLOCK = f"{MARK}\nextra_bins /{_CHROOT}\n"


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """What is installed: path below the root -> content, and symlink -> target.

    ``tools`` are the kdumps that were found; ``update`` are commands for the running system,
    ``notes`` what else is to be known.
    """

    tools: tuple[str, ...]
    files: dict[str, str]
    links: dict[str, str]
    update: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def _links() -> dict[str, str]:
    return {f"{UNIT_DIRECTORY}/{unit}.wants/{UNIT}": f"../{UNIT}" for unit in _WANTING}


def _notes(root: Sysroot) -> Iterator[str]:
    for rel in ("proc/cmdline", "etc/default/grub", "etc/default/grub.d/kdump-tools.cfg"):
        try:
            words = root.text(rel).replace('"', " ")
        except SourceError:
            continue
        if any(name == "crashkernel" for name, _ in split_parameters(words)):
            break
    else:
        yield "boot with crashkernel=256M: without it there is no room for a crash kernel"
    for each in collectors(root):
        if each.level is not None and each.level & USER_DATA:
            yield (
                f"/{each.file}: dumps of level {each.level} leave out pages of new kernels' trace "
                f"buffers, should one be read later: {each.line}"
            )


def plan_crash(
    root: Path, session: str | None = None, command: str | None = None, *, instead: bool = False
) -> CrashPlan:
    """What is to be installed below ``root``; ``command`` is how tracekit is called there.

    ``instead``: where a session could be saved, no dump is made. Raises
    :class:`~tracekit.errors.UsageError`, and :class:`~tracekit.errors.SourceError` without a root.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: no such directory: --root needs the root of a system")
    where = absolute(session, "--session") if session else None
    values = {
        "TRACEKIT": program(command),
        "SESSION": f" {where}" if where else "",
        "SESSIONS": where or str(SESSIONS),
    }
    tree = Sysroot(root)
    tools, update = ["systemd"], [("systemctl", "daemon-reload")]
    files = {_UNIT: template(UNIT, {**values, "ACTION": "SuccessAction=reboot-force\n" * instead})}
    if tree.exists(DEBIAN):
        tools.append("kdump-tools")
    if (conf := read(root, FEDORA)) is not None:
        tools.append("kdump")
        reboot = "systemctl reboot -f" if instead else "exit 0"
        files[HOOK] = template("kdump-pre", {**values, "ACTION": reboot})
        files[FEDORA] = _without_block(conf).rstrip("\n") + f"\n{_BLOCK}"
        update.append(("kdumpctl", "restart"))
    notes = tuple(_notes(tree))
    return CrashPlan(tuple(tools), files, _links(), tuple(update), notes)


def _without_block(conf: str) -> str:
    return conf.replace(_BLOCK, "")


def install_crash(root: Path, plan: CrashPlan) -> list[str]:
    """Install what ``plan`` says; returns one line for each thing done.

    Raises :class:`~tracekit.errors.SourceError`, before anything is written, when a file that is
    not ours is in the way.
    """
    present = {rel: read(root, rel) for rel in plan.files}
    refuse_foreign(root, {rel: text for rel, text in present.items() if rel != FEDORA})
    with below(root) as directory:
        done = [
            put(root, directory, rel, content, present[rel], 0o755 if rel == HOOK else 0o644)
            for rel, content in plan.files.items()
        ]
        for rel, target in plan.links.items():
            link(root, directory, rel, target)
    return done


def undo_crash(root: Path) -> list[str]:
    """Remove what :func:`install_crash` has installed; returns what was done."""
    with below(root) as directory:
        for rel in _links():
            remove(root, directory, rel)
        done = [d for rel in (_UNIT, HOOK) if (d := take_away(root, directory, rel)) is not None]
        conf = read(root, FEDORA)
        if conf is not None and _BLOCK in conf:
            write(root, directory, FEDORA, _without_block(conf))
            done.append(f"changed: {root / FEDORA}")
    return done
