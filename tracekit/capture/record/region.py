"""Where in physical memory the running boot records."""

from __future__ import annotations

from tracekit.capture.record.instance import running_command
from tracekit.carriers.carve_out import region_name
from tracekit.carriers.machine import mapped_instances
from tracekit.carriers.memory_use import carried_regions
from tracekit.errors import SourceError
from tracekit.parameters import RegionSpec
from tracekit.sysroot import Sysroot

__all__ = ["region_of"]


def region_of(root: Sysroot, instance: str) -> RegionSpec:
    """The region of a trace instance: its carve-out, else from what KHO hands over, or the log.

    Raises :class:`~tracekit.errors.SourceError` when neither has it.
    """
    command = running_command(root)
    parameter = next((i for i in command.instances if i.name == instance), None)
    if parameter is not None and parameter.address is not None and parameter.size is not None:
        return RegionSpec(region_name(parameter.address), parameter.address, parameter.size)
    name = (parameter.region if parameter else None) or instance
    for side in ("out", "in"):
        for region in carried_regions(root, (side,)):
            if region.name == name:
                return region
    log = (root.kernel_log() or b"").decode("utf-8", "replace")
    if (mapped := mapped_instances(log).get(instance)) is not None:
        return RegionSpec(name, *mapped)
    raise SourceError(
        f"nothing tells where the region {name!r} of the trace instance {instance!r} lies: mount "
        "debugfs ('mount -t debugfs nodev /sys/kernel/debug'), or name it with "
        "'tracekit recover --region NAME@ADDRESS:SIZE'"
    )
