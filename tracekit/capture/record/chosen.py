"""The trace instance that is recorded in, and whether its record will survive."""

from __future__ import annotations

from tracekit.capture.cmdline.compose import preserved_instance
from tracekit.capture.record.instance import Instance, find_instance, running_command
from tracekit.carriers.carrier import Verdict
from tracekit.carriers.choice import for_jump
from tracekit.carriers.machine import Machine
from tracekit.parameters import TraceInstance
from tracekit.sysroot import Sysroot

__all__ = ["chosen_instance", "survival"]


def chosen_instance(root: Sysroot, name: str | None, carrier: str | None) -> Instance:
    """The instance ``name``, else the first one on the ``carrier``, else in preserved memory.

    Raises as :func:`~tracekit.capture.record.instance.find_instance` does.
    """
    mine = _parameter(root, name, carrier)
    return find_instance(root, mine.name if mine else name)


def _parameter(root: Sysroot, name: str | None, carrier: str | None) -> TraceInstance | None:
    command = running_command(root)
    wanted = preserved_instance(command, name, carrier)
    return wanted or preserved_instance(command, name)


def survival(root: Sysroot, name: str, carrier: str | None = None) -> Verdict | None:
    """What keeps the record of the instance ``name``, None where that is not asked for.

    Raises :class:`~tracekit.errors.UsageError` where nothing does, and where it is not on the
    ``carrier``.
    """
    mine = _parameter(root, name, carrier)
    return for_jump(Machine(root), mine, carrier) if mine else None
