"""Where the running boot records: its region in physical memory, and its session."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tracekit.capture.cmdline import RegionSpec
from tracekit.capture.evidence import mapped_instances
from tracekit.capture.instance import running_command
from tracekit.capture.save import KHO_ROOTS
from tracekit.capture.sessionparam import named_session, session_from_cmdline
from tracekit.errors import ParseError, SourceError
from tracekit.kho.handover import parse_memblock
from tracekit.sysroot import Sysroot

__all__ = ["SESSIONS", "default_session", "region_of"]

SESSIONS = Path("/var/lib/tracekit")


def region_of(root: Sysroot, instance: str) -> RegionSpec:
    """The region of a trace instance, from what KHO will hand over, else from the kernel's log.

    Raises :class:`~tracekit.errors.SourceError` when neither tells.
    """
    command = running_command(root)
    found = next((i for i in command.instances if i.name == instance), None)
    if found is not None and found.address is not None and found.size is not None:
        return RegionSpec(instance, found.address, found.size)
    name = (found.region if found else None) or instance
    for place in KHO_ROOTS:
        for side in ("out", "in"):
            try:
                regions = parse_memblock(root.get(f"{place}/{side}/sub_fdts/memblock") or b"")
            except ParseError:
                continue
            for region in regions:
                if region.name == name:
                    return RegionSpec(name, region.address, region.size)
    log = (root.kernel_log() or b"").decode("utf-8", "replace")
    if (mapped := mapped_instances(log).get(instance)) is not None:
        return RegionSpec(name, *mapped)
    raise SourceError(
        f"nothing tells where the region {name!r} of the trace instance {instance!r} lies: mount "
        "debugfs ('mount -t debugfs nodev /sys/kernel/debug'), or name it with "
        "'tracekit recover --region NAME@ADDRESS:SIZE'"
    )


def default_session(root: Sysroot) -> Path:
    """The session this boot records into when none is named.

    The one that the kernel before handed over in ``tracekit.session=``; else one of this boot's
    own below ``/var/lib/tracekit``, the same each time.
    """
    if named_session(root.text("proc/cmdline")) is not None:
        return Path(session_from_cmdline(root))
    boot_id = (root.get("proc/sys/kernel/random/boot_id") or b"unknown").decode("ascii", "replace")
    mark = boot_id.strip()[:8]
    there = sorted(SESSIONS.glob(f"*-{mark}")) if SESSIONS.is_dir() else []
    today = datetime.now(UTC).strftime("%Y%m%d")
    return there[0] if there else SESSIONS / f"{today}-{mark}"
