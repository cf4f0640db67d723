"""Whether the machine is on a way down that its record survives."""

from __future__ import annotations

from tracekit.capture.record.instance import running_command
from tracekit.sysroot import Sysroot

__all__ = ["survives_way_down"]


def survives_way_down(root: Sysroot, instance: str) -> bool:
    """Whether what a trace instance records from now on is there for the next kernel.

    Pid 1 is ``systemd-shutdown VERB`` once nothing but the way down is left. Any preserved region
    outlives a kexec; a carve-out, which an address names, a reboot; nothing a power-off. Where it
    does not, what was recorded has to be fetched while this kernel runs.
    """
    words = (root.get("proc/1/cmdline") or b"").decode("utf-8", "replace").split("\0")
    verb = words[1] if len(words) > 1 and words[0].endswith("systemd-shutdown") else ""
    if verb != "reboot":
        return verb == "kexec"
    parameters = running_command(root).instances
    return any(i.name == instance and i.address is not None for i in parameters)
