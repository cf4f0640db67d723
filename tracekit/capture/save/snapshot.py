"""``tracekit snapshot``: saves the running boot into a session, before the jump."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tracekit.capture.save.boot_files import Saving, kernel_facts, save_boot
from tracekit.capture.save.boots import boot_of, known_boots
from tracekit.errors import Diagnostic, SourceError
from tracekit.frozen import dataclass
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter
from tracekit.session.names import INCOMING
from tracekit.sysroot import TRACEFS, Sysroot, find_tracefs

__all__ = ["SnapshotResult", "open_boot", "snapshot"]


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """What was saved: ``replaced`` is True when the session had this very boot already."""

    session: Path
    boot: int
    release: str | None
    formats: int
    replaced: bool
    diagnostics: tuple[Diagnostic, ...]


def open_boot(
    root: Sysroot, writer: SessionWriter, remarks: Remarks
) -> tuple[int, dict[str, Any], dict[str, bytes], bool]:
    """The running boot's place in a session.

    (Its index, its ``kernel.json``, the kernel files read for that, whether the session had it.)
    """
    kernel, at_hand = kernel_facts(root, remarks)
    boots = known_boots(writer)
    index = boot_of(kernel, boots)
    if index is None:
        return max(boots, default=-1) + 1, kernel, at_hand, False
    return index, kernel, at_hand, True


def snapshot(
    root: Sysroot,
    session_path: str | os.PathLike[str],
    progress: Progress = no_progress,
) -> SnapshotResult:
    """Save the boot that ``root`` shows into the session at ``session_path``.

    A boot the session has already (by boot_id) is saved again, and nothing that the session knew of
    it is forgotten; any other becomes the next one. Raises
    :class:`~tracekit.errors.SourceError` when the root has no events to save and
    :class:`~tracekit.errors.SessionError` when the session cannot be written.
    """
    tracefs = find_tracefs(root)
    if tracefs is None or not root.glob(f"{tracefs}/events/*/*/format"):
        raise SourceError(
            f"{root.where(tracefs or TRACEFS[0])}: no event formats there, so nothing recorded "
            "could ever be decoded: mount tracefs with "
            "'mount -t tracefs nodev /sys/kernel/tracing' (and be root), "
            "or give --sysroot the root of a saved tree"
        )
    with SessionWriter.open(session_path) as writer:
        remarks = Remarks()
        boot, kernel, at_hand, replaced = open_boot(root, writer, remarks)
        remarks.where = f"boot {boot}"
        formats = save_boot(Saving(root, writer, boot, remarks, progress, at_hand), kernel)
        writer.set_diagnostics(boot, remarks.diagnostics)
        # A recover that was killed is still to be finished, whatever was saved since.
        unfinished = writer.names(INCOMING)
        state = writer.earlier_state if writer.earlier_state != "writing" else "snapshot"
        writer.finish("writing" if unfinished else state)
        return SnapshotResult(
            writer.path,
            boot,
            kernel["release"],
            formats,
            replaced,
            tuple(remarks.diagnostics),
        )
