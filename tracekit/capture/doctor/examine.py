"""``tracekit doctor``: whether this machine can record its way through a kexec, check by check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tracekit.capture.doctor import (
    carve_out_checks,
    machine_checks,
    memory_checks,
    probe_checks,
)
from tracekit.capture.doctor.check import Check
from tracekit.capture.doctor.crash_checks import crash_checks
from tracekit.carriers.carrier import Verdict
from tracekit.carriers.choice import choose, verdicts
from tracekit.carriers.machine import Machine
from tracekit.errors import UsageError
from tracekit.sysroot import Sysroot

__all__ = ["carriers", "examine"]


def examine(root: Sysroot, session: str) -> list[Check]:
    """Every check, in the order a reader needs them. ``session`` is where the recording will go."""
    machine = Machine(root)
    checks: Iterable[Callable[[Machine], Check]] = (
        *(
            carve_out_checks.CHECKS
            if carve_out_checks.on_carve_out(machine)
            else memory_checks.CHECKS
        ),
        *machine_checks.CHECKS,
        *probe_checks.CHECKS,
        *((*machine_checks.LIVE_CHECKS, *probe_checks.LIVE_CHECKS) if root.live else ()),
    )
    results = [check(machine) for check in checks] + crash_checks(machine)
    if root.live:
        results.append(machine_checks.disk(machine, session))
    results.append(machine_checks.next_command(machine, session))
    return results


def carriers(root: Sysroot) -> tuple[list[Verdict], str | None]:
    """What the machine has of each carrier, and which one is taken (None: none can be)."""
    machine = Machine(root)
    try:
        taken = choose(machine).carrier
    except UsageError:
        taken = None
    return verdicts(machine), taken
