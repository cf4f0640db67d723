"""The doctor's checks on the rest of the machine: kexec, tracing, clock, disk, systemd."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from tracekit.capture.cmdline.compose import next_cmdline
from tracekit.capture.doctor.carve_out_checks import on_carve_out
from tracekit.capture.doctor.check import Check
from tracekit.capture.save import systemd
from tracekit.capture.save.clocksource import TSC, best_clock, read_tsc_trust
from tracekit.carriers.carve_out import halves
from tracekit.carriers.machine import Machine, lockdown_mode
from tracekit.errors import UsageError

__all__ = ["CHECKS", "LIVE_CHECKS", "disk", "next_command"]

_AS_ROOT = "run 'tracekit doctor' as root to see"
_DISABLED = "proc/sys/kernel/kexec_load_disabled"
_LIMIT = "proc/sys/kernel/kexec_load_limit_reboot"
_ROOM = 64 << 20  # bytes a session needs besides the regions: symbols, formats, probe records
_TSC = ("constant_tsc", "nonstop_tsc")
_DISTRUSTED = (
    "the recorder takes the clock 'mono' then, which keeps order between CPUs but starts anew in "
    "the next kernel: the gap is known within bounds only. --clock x86-tsc records the TSC all the "
    "same, with an error that nobody knows"
)


def _load_limit(m: Machine) -> Check | None:
    """What the sysctls forbid (``kexec_load_permitted()`` in ``kernel/kexec_core.c``), or None."""
    loaded = m.text("sys/kernel/kexec_loaded").strip() == "1"
    still = "; a kernel is loaded already: 'systemctl kexec' boots that" if loaded else ""
    for rel, forbids in ((_DISABLED, "1"), (_LIMIT, "0")):
        if m.text(rel).strip() == forbids:
            return Check(
                "kexec-file", "failed",
                f"{m.root.where(rel)} is {forbids}: no kernel can be loaded any more{still}",
                f"remove kernel.{rel.rpartition('/')[2]} from sysctl.d and whatever else sets it, "
                "and reboot: it cannot be set back",
            )  # fmt: skip
    text = m.text(_LIMIT).strip()
    if text in ("", "-1"):
        return None
    if not text.isdecimal():
        return Check("kexec-file", "unknown", f"{m.root.where(_LIMIT)} is {text!r}",
                     "expected -1 or how many loads are left")  # fmt: skip
    return Check(
        "kexec-file", "warning",
        f"{m.root.where(_LIMIT)} is {text}: so many kernels can still be loaded in this boot, and "
        "every load counts (tracekit-load.service's too)",
        "raise kernel.kexec_load_limit_reboot in sysctl.d and reboot; it can only be lowered",
    )  # fmt: skip


def kexec_file(m: Machine) -> Check:
    """``kexec_file_load()``, the only kexec that carries KHO data, and keeps every carve-out."""
    name = "kexec-file"
    option = m.option("KEXEC_FILE")
    if option == "n" and on_carve_out(m):
        return Check(
            name, "warning", "CONFIG_KEXEC_FILE is not set: 'tracekit handover' cannot load",
            "after a reboot or a panic the record is there; 'kexec -c' has kept a carve-out at "
            "7/8 of the memory and destroyed one near its end",
        )  # fmt: skip
    if option == "n":
        return Check(name, "failed", "CONFIG_KEXEC_FILE is not set",
                     "boot a kernel that has it: KHO needs kexec -s")  # fmt: skip
    limited = _load_limit(m)
    if limited is not None and limited.state == "failed":
        return limited
    if m.option("KEXEC_SIG_FORCE") == "y" or lockdown_mode(m.root) not in (None, "none"):
        return Check(name, "warning", "only kernels with a trusted signature can be loaded",
                     "hand over to a kernel signed by your distribution")  # fmt: skip
    if limited is not None:
        return limited
    if option is None:
        return Check(name, "unknown", "no config.gz and no /boot/config tells",
                     "'tracekit handover --load-only' finds out")  # fmt: skip
    return Check(name, "ok", "CONFIG_KEXEC_FILE=y, no signature asked for")


def _mounted(m: Machine, kind: str, place: str, seen: bool) -> Check:
    points = m.mounts.get(kind, []) if m.mounts is not None else []
    if points:
        return Check(kind, "ok", f"mounted on {points[0]}")
    if m.mounts is None and seen:
        return Check(kind, "ok", f"{m.root.where(place)} is there")
    return Check(kind, "failed", "not mounted", f"mount -t {kind} nodev /{place}")


def tracefs(m: Machine) -> Check:
    """Tracefs, where events are enabled and read."""
    return _mounted(m, "tracefs", "sys/kernel/tracing", m.tracefs is not None)


def debugfs(m: Machine) -> Check:
    """Debugfs, where KHO shows its data."""
    found = _mounted(m, "debugfs", "sys/kernel/debug", m.root.exists("sys/kernel/debug"))
    if found.state == "failed" and on_carve_out(m):
        return Check(
            "debugfs", "ok", f"{found.found}, and not needed: a carve-out has no data there"
        )
    return found


def clock(m: Machine) -> Check:
    """A trace clock that keeps counting through the jump."""
    flags = set(m.text("proc/cpuinfo").partition("flags")[2].partition("\n")[0].split())
    trust = read_tsc_trust(m.root)
    if m.tracefs is None:
        return Check("clock", "unknown", "trace_clock cannot be read",
                     _AS_ROOT if m.blind else "mount tracefs")  # fmt: skip
    offered = m.text(f"{m.tracefs}/trace_clock").replace("[", "").replace("]", "").split()
    if "x86-tsc" not in offered:
        return Check(
            "clock", "warning", "no x86-tsc among the trace clocks: every other restarts",
            "the gap between both kernels is then known within bounds only",
        )  # fmt: skip
    if trust.trusted is False:
        return Check(
            "clock", "warning", f"the kernel does not trust the TSC: {trust.why}", _DISTRUSTED
        )
    missing = [flag for flag in _TSC if flag not in flags]
    if missing and flags:
        return Check(
            "clock", "warning", f"x86-tsc is offered, but the CPU lacks {', '.join(missing)}",
            "the TSC may change its speed or stop in idle; in a virtual machine let the host pass "
            "the flags on (-cpu host,+invtsc)",
        )  # fmt: skip
    if trust.current and not trust.trusted:
        return Check(
            "clock", "warning", trust.why,
            "if nobody chose that (clocksource=, or by writing to current_clocksource), the kernel "
            "thinks the TSC worse: look for 'clocksource' and 'tsc' in its log; x86-tsc is "
            "recorded all the same, for it runs on through the jump",
        )  # fmt: skip
    if trust.trusted is None or not flags:
        unseen = trust.why if trust.trusted is None else "no flags of the CPU in proc/cpuinfo"
        return Check("clock", "unknown", f"x86-tsc is offered, but {unseen}",
                     "look into current_clocksource before the gap is believed")  # fmt: skip
    return Check("clock", "ok", f"x86-tsc runs on through the jump; {trust.why}")


def wanted_clock(m: Machine) -> str:
    """The trace clock that 'tracekit record' will choose."""
    if m.tracefs is None:
        return TSC
    name = m.instance.name if m.instance else ""
    texts = (m.text(f"{m.tracefs}/instances/{name}/trace_clock") if name else "",
             m.text(f"{m.tracefs}/trace_clock"))  # fmt: skip
    text = next((text for text in texts if text.strip()), "")
    chosen = re.search(r"\[(\S+)\]", text)
    clocks = tuple(text.replace("[", "").replace("]", "").split())
    return best_clock(clocks, chosen[1] if chosen else "local", read_tsc_trust(m.root))


def root_user(m: Machine) -> Check:
    """Running as root, without which much stays unseen."""
    if m.blind:
        return Check("root", "warning", "not root: tracefs, debugfs and kcore stay unseen",
                     "sudo tracekit doctor")  # fmt: skip
    return Check("root", "ok", "uid 0")


def service_manager(_: Machine) -> Check:
    """Systemd: optional, but 'systemctl kexec' and the units need it."""
    if systemd.running():
        return Check("systemd", "ok", "running: 'tracekit setup' has units, --via systemctl works")
    return Check("systemd", "ok", "not running: use --via kexec; no milestones of user space")


def disk(m: Machine, session: str) -> Check:
    """Free space where the session will be."""
    place = Path(session)
    while not os.path.exists(place) and place != place.parent:  # noqa: PTH110 - never raises
        place = place.parent
    kept = sum(region.size for region in m.regions)
    need = (kept or sum(size for _, size in halves(m.command))) + _ROOM
    try:
        stat = os.statvfs(place)
    except OSError as error:
        return Check("disk", "unknown", f"{place}: {error.strerror}", _AS_ROOT)
    free = stat.f_bavail * stat.f_frsize
    space = f"{free >> 20} MiB free in {place}, {need >> 20} MiB wanted"
    if stat.f_flag & os.ST_RDONLY:
        return Check("disk", "failed", f"{place} is on a read-only file system",
                     "name a session elsewhere: --session DIR")  # fmt: skip
    if _in_memory(m, place):
        return Check("disk", "warning", f"{space}, but that is memory, lost at the jump",
                     "name a session on a disk: --session DIR; or let it cross in memory: "
                     "'tracekit handover -o luo:NAME'")  # fmt: skip
    if free < need:
        return Check("disk", "failed" if free < _ROOM else "warning", space,
                     "free some, or name a session elsewhere: --session DIR")  # fmt: skip
    return Check("disk", "ok", space)


def _in_memory(m: Machine, place: Path) -> bool:
    """Whether the file system that holds ``place`` is a tmpfs or similar."""
    best, volatile = "", False
    for kind, points in (m.mounts or {}).items():
        for point in points:
            holds = place == Path(point) or Path(point) in place.parents
            if holds and len(point) >= len(best):
                best, volatile = point, kind in ("tmpfs", "ramfs", "rootfs", "devtmpfs")
    return volatile


def next_command(m: Machine, session: str) -> Check:
    """The command line 'tracekit handover' would give the next kernel."""
    name = "next-cmdline"
    try:
        following = next_cmdline(m.command.text, session, memory=m.memory, clock=wanted_clock(m))
    except UsageError as error:
        return Check(name, "failed", str(error), "shorten this kernel's command line")
    if following.warnings:
        return Check(name, "warning", following.cmdline, "; ".join(following.warnings))
    return Check(name, "ok", following.cmdline)


CHECKS: tuple[Callable[[Machine], Check], ...] = (kexec_file, tracefs, debugfs, clock)
LIVE_CHECKS: tuple[Callable[[Machine], Check], ...] = (root_user, service_manager)
