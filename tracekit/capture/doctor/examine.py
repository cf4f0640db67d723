"""``tracekit doctor``: whether this machine can record its way through a kexec, check by check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tracekit.capture.doctor import machine_checks, memory_checks
from tracekit.capture.doctor.check import Check
from tracekit.carriers.machine import Machine
from tracekit.sysroot import Sysroot

__all__ = ["examine"]


def examine(root: Sysroot, session: str) -> list[Check]:
    """Every check, in the order a reader needs them. ``session`` is where the recording will go."""
    machine = Machine(root)
    checks: Iterable[Callable[[Machine], Check]] = (
        *memory_checks.CHECKS,
        *machine_checks.CHECKS,
        *(machine_checks.LIVE_CHECKS if root.live else ()),
    )
    results = [check(machine) for check in checks]
    if root.live:
        results.append(machine_checks.disk(machine, session))
    results.append(machine_checks.next_command(machine, session))
    return results
