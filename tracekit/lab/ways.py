"""The lab's runs: a record that memory carries over, by each way a kernel can go down.

Two boots: the first records and goes down, the next one runs ``tracekit recover`` as anybody
would, without saying where the record is.
"""

from __future__ import annotations

import shlex
from typing import Literal

from tracekit.carriers.carrier import Way
from tracekit.errors import UsageError
from tracekit.frozen import dataclass
from tracekit.lab.kernels import Kernel
from tracekit.lab.machine import BASE_CMDLINE, Plan, first_cmdline

__all__ = [
    "CRASH_CMDLINE", "SESSION", "CarrierName", "Journey", "carve_out", "carved", "first",
    "goodbye", "plan", "recorder", "recovery",
]  # fmt: skip

CarrierName = Literal["kho", "carveout"]

#: Where the guest has its session; it survives and is brought out.
SESSION = "/var/lib/tracekit/session"
#: What a crash kernel is booted with: Documentation/admin-guide/kdump/kdump.rst.
CRASH_CMDLINE = f"{BASE_CMDLINE} nr_cpus=1 irqpoll reset_devices"
_CRASHKERNEL = "crashkernel=256M"
_ABOVE = 64 << 20  # bytes left above a carve-out, for the initramfs and the firmware's tables
_LOW = 2048  # MiB of a guest's memory that lie below 4 GiB at least: QEMU's q35


def carve_out(memory: int = 2048) -> int:
    """The address of the carve-out of a guest of ``memory`` MiB: 7/8 of its low memory.

    Firmware, boot loaders and kexec put nothing there: they begin at either end.
    """
    return ((min(memory, _LOW) << 20) * 7 // 8) & -(2 << 20)


def carved(memory: int = 2048, half: int = 8 << 20) -> str:
    """``memmap=`` for two halves of so many bytes."""
    return f"memmap={_size(2 * half)}${carve_out(memory):#x}"


def _size(count: int) -> str:
    """So many bytes as the kernel's memparse() reads them."""
    return f"{count >> 10}K" if count % (1 << 20) else f"{count >> 20}M"


@dataclass(frozen=True, slots=True)
class Journey:
    """From one kernel to the next: which, what carries the record, and how the first goes down.

    ``half`` is the size of each region or half, in bytes; ``record`` are options of ``tracekit
    record``; ``while_recording`` are shell commands that run when it is armed; ``memory`` in MiB;
    ``timeout`` in seconds.
    """

    old: Kernel
    new: Kernel
    carrier: CarrierName = "kho"
    down: Way = "kexec"
    cpus: int = 2
    new_cpus: int | None = None
    half: int = 8 << 20
    record: tuple[str, ...] = ()
    memory: int = 2048
    timeout: float = 600
    session: str = SESSION
    while_recording: str = ""


def first(journey: Journey) -> str:
    """The first kernel's command line."""
    if journey.carrier == "kho":
        words = [first_cmdline(_size(journey.half))]
    else:
        instance = f"trace_instance=tk^traceoff@{carve_out(journey.memory):#x}"
        words = [BASE_CMDLINE, carved(journey.memory, journey.half)]
        words.append(f"{instance}:{_size(journey.half)}")
    if journey.down == "panic":
        words.append(_CRASHKERNEL)
    return " ".join([*words, f"nr_cpus={journey.cpus}"])


def recorder(session: str = SESSION, *options: str) -> str:
    """Shell: a recorder in the background, armed when this is done."""
    command = shlex.join(["tracekit", "record", "-o", session, *options])
    return (
        f"{command} 2>/tmp/record.log & recorder=$!\n"
        "until grep -q '^recording into' /tmp/record.log; do\n"
        "    kill -0 $recorder || { cat /tmp/record.log; exit 1; }\n"
        "    sleep 0.2\n"
        "done\ncat /tmp/record.log\n"
    )


def goodbye(journey: Journey) -> str:
    """Shell: record and go down the journey's way."""
    if journey.down == "kexec":
        append = f"{BASE_CMDLINE} nr_cpus={journey.new_cpus or journey.cpus}"
        handover = [
            "tracekit", "handover", "--kernel", f"/boot/vmlinuz-{journey.new.release}",
            "--initrd", "/boot/initrd", "--append", append, "-o", journey.session,
        ]  # fmt: skip
        if not journey.while_recording:
            return f"{shlex.join([*handover, *journey.record])}\n"
        armed = recorder(journey.session, *journey.record)
        return f"{armed}{journey.while_recording}\n{shlex.join(handover)}\n"
    armed = recorder(journey.session, *journey.record)
    record = f"{armed}{journey.while_recording}\nsync\n"
    if journey.down == "reboot":
        return f"{record}reboot -f\n"
    return f"{_load_crash_kernel(journey)}{record}{_panic(journey.memory)}"


def _panic(memory: int) -> str:
    """Shell: by sysrq; a kernel without it (CONFIG_MAGIC_SYSRQ) by the end of its memory (MiB)."""
    return (
        "if test -e /proc/sysrq-trigger; then echo c > /proc/sysrq-trigger; fi\n"
        "echo 1 > /proc/sys/vm/overcommit_memory\necho 1 > /proc/sys/vm/panic_on_oom\n"
        f"dd if=/dev/zero of=/dev/null bs={memory}M count=1\n"
    )


def _load_crash_kernel(journey: Journey) -> str:
    words = [CRASH_CMDLINE]
    if journey.carrier == "carveout":
        words.append(carved(journey.memory, journey.half))
    kexec = [
        "kexec", "-s", "-p", f"/boot/vmlinuz-{journey.new.release}", "--initrd=/boot/initrd",
        f"--command-line={' '.join(words)}",
    ]  # fmt: skip
    return f"{shlex.join(kexec)}\n"


def recovery(journey: Journey) -> str:
    """Shell: what the next kernel does; after a panic only the crash kernel does it."""
    crash = "test -e /proc/vmcore || { echo 'this is no crash kernel'; exit 1; }\n"
    return f"{crash if journey.down == 'panic' else ''}tracekit recover\n"


def plan(journey: Journey) -> Plan:
    """The journey as a run of the lab. Raises :class:`~tracekit.errors.UsageError`."""
    if journey.down == "reboot":
        if journey.new != journey.old:
            raise UsageError("after a reboot the same kernel boots again: name one kernel")
        if journey.new_cpus not in (None, journey.cpus):
            raise UsageError("after a reboot there are as many CPUs as before")
    if journey.down == "panic" and journey.new_cpus not in (None, 1):
        raise UsageError("a crash kernel runs on one CPU")
    room = ((min(journey.memory, _LOW) << 20) // 8 - _ABOVE) // 2
    if journey.carrier == "carveout" and journey.half > room:
        raise UsageError(f"a carve-out of this guest has room for two halves of {_size(room)}")
    return Plan(
        kernel=journey.old.name,
        others=(journey.new.name,),
        scripts=(goodbye(journey), recovery(journey)),
        cmdline=first(journey),
        cpus=max(journey.cpus, journey.new_cpus or 0),
        memory=journey.memory,
        timeout=journey.timeout,
        restarts=journey.down == "reboot",
        panics=int(journey.down == "panic"),
    )
