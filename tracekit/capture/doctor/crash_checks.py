"""The doctor's check on what becomes of the trace buffers in a panic, where kdump is installed."""

from __future__ import annotations

from tracekit.capture.cmdline.crash import HOOK, UNIT
from tracekit.capture.cmdline.kdump_conf import FEDORA, USER_DATA, collectors
from tracekit.capture.cmdline.setup import UNIT_DIRECTORY
from tracekit.capture.doctor.check import Check
from tracekit.carriers.machine import Machine

__all__ = ["crash_checks"]


def crash_checks(m: Machine) -> list[Check]:
    """Whether kdump's dumps keep the trace buffers; none where no kdump is installed."""
    checks = []
    for each in collectors(m.root):
        hook = HOOK if each.file == FEDORA else f"{UNIT_DIRECTORY}/{UNIT}"
        how = "dumps are copies of all memory"
        if each.level is not None:
            how = f"makedumpfile writes dumps of level {each.level}"
        summary = f"/{each.file}: {how}"
        if m.root.exists(hook):
            found = f"{summary}; the crash kernel saves the trace buffers itself"
            checks.append(Check("crash-dump", "ok", found))
        elif each.level is None or not each.level & USER_DATA:
            checks.append(Check("crash-dump", "ok", summary))
        else:
            checks.append(
                Check(
                    "crash-dump", "warning",
                    f"{summary}, which lack pages of new kernels' trace buffers",
                    f"write {each.line}; or 'tracekit setup --crash' saves them without a dump",
                )
            )  # fmt: skip
    return checks
