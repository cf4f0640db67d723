"""The kernel's own copy of what an earlier one left: ``trace_instance=NAME=OTHER``.

The copy is made when the instances are created, before anything is recorded into OTHER, so it has
what the new events overwrite, and all of the CPUs that are reset for them. It lies in ordinary
memory and can only be read through tracefs, which consumes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tracekit.capture.recover.chain import Chain
from tracekit.capture.save.boot_files import Saving
from tracekit.capture.save.pipes import Pipes, drain_pipes, finish_pipes
from tracekit.frozen import dataclass
from tracekit.parameters import parse_cmdline
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.session.identity import identity
from tracekit.sysroot import Sysroot, find_tracefs

__all__ = ["BackupInstance", "find_backups", "save_backup"]

# show_last_boot_header() in kernel/trace/trace.c: the address of _text of the kernel that recorded
_LAST_BOOT = re.compile(rb"^([0-9a-f]{1,16})\s+\[kernel\]", re.M)
_ENTRIES = re.compile(rb"^entries: ([0-9]{1,19})$", re.M)


@dataclass(frozen=True, slots=True)
class BackupInstance:
    """The instance ``name`` with a copy of what the boot ``boot`` recorded in its instance ``of``.

    ``place`` is its directory in the root.
    """

    name: str
    of: str
    place: str
    boot: int


def find_backups(
    root: Sysroot, writer: SessionWriter, chain: Chain, remarks: Remarks
) -> list[BackupInstance]:
    """The copies that this kernel has, or had, of what boots of the session recorded."""
    tracefs = find_tracefs(root)
    command = parse_cmdline(str(chain.kernel.get("cmdline") or ""))
    backups: list[BackupInstance] = []
    for instance in command.instances if tracefs else ():
        if instance.backup is None or "/" in instance.name:
            continue
        place = f"{tracefs}/instances/{instance.name}"
        boot = _begun(writer, chain, instance.name)
        if boot is None and any(_entries(root, place, remarks)):
            boot = _recorder(root, place, chain, remarks)
        if boot is not None:
            backups.append(BackupInstance(instance.name, instance.backup, place, boot))
    return backups


def _begun(writer: SessionWriter, chain: Chain, name: str) -> int | None:
    """The boot for which an earlier run in this boot began to read the copy, or has read it."""
    for boot in chain.boots:
        try:
            about = json.loads(writer.read(f"{_target(boot, name)}/about.json") or b"{}")
        except (ValueError, RecursionError):
            continue
        if isinstance(about, dict) and about.get("read_in") == identity(chain.kernel):
            return boot
    return None


def _recorder(root: Sysroot, place: str, chain: Chain, remarks: Remarks) -> int | None:
    """The boot whose ``_text`` the copy's ``last_boot_info`` shows, None where none fits."""
    shown = _LAST_BOOT.search(remarks.get(root, f"{place}/last_boot_info", None) or b"")
    text = int(shown[1], 16) if shown else 0
    fitting = (
        i
        for i, kernel in chain.boots.items()
        if i < chain.here and text and kernel.get("text_address") == text
    )
    boot = max(fitting, default=None)
    if text and boot is None:
        remarks.add(
            "backup-of-others",
            "info",
            place,
            f"the kernel's copy is of a kernel with _text at {text:#x}, of which there is no "
            "snapshot: it is not read",
        )
    return boot


def _entries(root: Sysroot, place: str, remarks: Remarks) -> list[int]:
    """The events in each CPU's buffer."""
    found = (
        _ENTRIES.search(remarks.get(root, rel, None) or b"")
        for rel in remarks.glob(root, f"{place}/per_cpu/cpu[0-9]*/stats")
    )
    return [int(match[1]) for match in found if match]


def save_backup(saving: Saving, backup: BackupInstance, kernel: Mapping[str, Any]) -> None:
    """Save the copy: its counters, which reading changes, then its pages.

    A second run of the same boot finds it empty, or gone, and leaves what the first saved.
    """
    writer = saving.writer
    target = _target(backup.boot, backup.name)
    about = {"instance": backup.name, "of": backup.of, "read_in": identity(kernel)}
    for rel in saving.glob(f"{backup.place}/per_cpu/cpu[0-9]*/stats"):
        name = f"{target}/{rel.removeprefix(f'{backup.place}/')}"
        stats = saving.get(rel, None)
        if stats is not None and not writer.has(name):
            writer.write(name, stats)
    writer.write(f"{target}/about.json", dump_json(about))
    title = "reading the kernel's copy of the old buffer"
    pipes = Pipes(backup.place, f"{target}/per_cpu", f"{target}/trace_pipe_raw", title)
    cpus = drain_pipes(saving, pipes, kernel)
    finish_pipes(saving, pipes, cpus)
    if not any(writer.has(f"{pipes.target}/{cpu}/trace_pipe_raw") for cpu in cpus):
        saving.remarks.add(
            "backup-not-read",
            "warning",
            backup.place,
            f"the kernel's copy of what boot {backup.boot} left there could not be read: there is "
            "no trace_pipe_raw; its counters are saved",
        )


def _target(boot: int, name: str) -> str:
    """Where a copy goes in the session."""
    return f"boots/{boot}/backup/{safe_name(name)}"
