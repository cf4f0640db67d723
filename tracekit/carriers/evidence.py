"""Explains why no KHO data came with this boot, from what the kernels left behind.

When a kernel refuses them: ``kho_populate()`` in ``kernel/liveupdate/kexec_handover.c``. It
accepts them with ``kho=off`` too, which only keeps it from handing anything on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracekit.carriers.machine import LOCKDOWN, config_text, lockdown_mode, mapped_instances
from tracekit.carriers.memory import PhysicalMemory
from tracekit.carriers.ring_header import header_address
from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.kho.tree import parse_memblock
from tracekit.parameters import CommandLine, RegionSpec, parse_cmdline
from tracekit.remarks import Remarks
from tracekit.sysroot import Sysroot

__all__ = [
    "LOCKED",
    "Previous",
    "log_lines",
    "previous_boot",
    "quote",
    "still_there",
    "why_crash",
    "why_locked",
    "why_no_kho",
]

#: What is left where the kernel is locked down.
LOCKED = (
    "/dev/mem cannot be read. What is left: boot with trace_instance= on the same half again and "
    "the clock 'local', read instances/NAME/trace in tracefs, and take the names and formats from "
    "the session (lockdown=confidentiality forbids tracefs too)"
)
_ENTRIES = re.compile(r"^entries: (\d{1,19})$", re.M)
_REFUSED = re.compile(r"KHO: (setup:|disabling KHO revival|failed to (mark|get))")
_MAX_LINES = 4


@dataclass(frozen=True, slots=True)
class Previous:
    """What the session knows of the kernel before this one.

    ``places`` are where its ``reserve_mem`` regions lay; ``entries`` how many events each CPU of
    its instance had when its snapshot was taken: (instance, CPU) -> events. ``handing`` says
    whether it had KHO data to hand on, ``kho_default`` whether it is on without ``kho=`` (None:
    its configuration is not known).
    """

    boot: int
    kernel: Mapping[str, Any]
    command: CommandLine
    places: tuple[RegionSpec, ...] = ()
    entries: Mapping[tuple[str, int], int] = field(default_factory=dict)
    handing: bool = False
    kho_default: bool | None = None

    @property
    def name(self) -> str:
        """The kernel in words: ``boot 0, kernel 7.2.13``."""
        return f"boot {self.boot}, kernel {self.kernel.get('release') or 'unknown'}"


def log_lines(log: str, wanted: re.Pattern[str]) -> list[str]:
    """The first few lines of a kernel log that match."""
    return [line for line in log.splitlines() if wanted.search(line)][:_MAX_LINES]


def quote(lines: Sequence[str]) -> str:
    """Lines of a log as messages show them."""
    return "; ".join(f"'{' '.join(line.split())[:200]}'" for line in lines)


def previous_boot(
    read: Callable[[str], bytes | None], names: Sequence[str], boot: int, kernel: Mapping[str, Any]
) -> Previous:
    """What a session knows of its boot ``boot``; ``names`` are those of its files."""
    command = parse_cmdline(str(kernel.get("cmdline") or ""))
    base = f"boots/{boot}"
    places: list[RegionSpec] = []
    try:
        blob = read(f"{base}/kho/out/sub_fdts/memblock")
        if blob is not None:
            places = [RegionSpec(r.name, r.address, r.size) for r in parse_memblock(blob)]
    except ParseError:
        pass  # the log may have it
    log = (read(f"{base}/dmesg") or b"").decode("utf-8", "replace") if not places else ""
    for instance, (address, size) in mapped_instances(log).items():
        region = next((i.region for i in command.instances if i.name == instance), None)
        places.append(RegionSpec(region or instance, address, size))
    entries: dict[tuple[str, int], int] = {}
    stats = re.compile(rf"{base}/tracefs/instances/([^/]+)/per_cpu/cpu(\d{{1,5}})/stats")
    for name in names:
        if (match := stats.fullmatch(name)) is not None:
            count = _ENTRIES.search((read(name) or b"").decode("ascii", "replace"))
            if count is not None:
                entries[match[1], int(match[2])] = int(count[1])
    handing = any(name.startswith(f"{base}/kho/out/") for name in names)
    config = config_text(read(f"{base}/config.gz") or b"")
    default = "CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y" in config.splitlines() if config else None
    return Previous(boot, kernel, command, tuple(places), entries, handing, default)


def why_locked(root: Sysroot) -> str:
    """A sentence about kernel lockdown if that is why physical memory cannot be read, else ''."""
    mode = lockdown_mode(root)
    if mode in (None, "none"):
        return ""
    try:
        command = parse_cmdline((root.get("proc/cmdline") or b"").decode("utf-8", "replace"))
    except SourceError:
        command = parse_cmdline("")
    left = any(instance.address is not None for instance in command.instances)
    return (
        f". The kernel is locked down ({root.where(LOCKDOWN)}: {mode}), which forbids reading "
        "physical memory: boot without lockdown= (it also follows from Secure Boot)"
        + (f". {LOCKED}" if left else "")
    )


def why_crash(
    crash: str,
    previous: Previous | None,
    cores: Sequence[PhysicalMemory],
    remarks: Sequence[Diagnostic],
) -> str:
    """Why no region can be read in a crash kernel, in words.

    ``cores`` are what vmcores there are, ``remarks`` say why others cannot be used.
    """
    begin = (
        f"this is a crash kernel ({crash}): a panic brought it up, KHO carries nothing into it, "
        "and what the old kernel recorded is in /proc/vmcore, if anywhere. "
    )
    keep = (
        "; to keep all of its memory: makedumpfile -E -d 0 /proc/vmcore FILE (an ELF core), before "
        "the next reboot"
    )
    if not cores:
        why = "; ".join(d.message for d in remarks if d.code == "core-unusable")
        return f"{begin}It cannot be read: {why or 'it is not there (CONFIG_PROC_VMCORE)'}"
    places = previous.places if previous else ()
    if not places:
        return (
            f"{begin}The session does not say where the regions lay: name them with --region "
            f"NAME@ADDRESS:SIZE (the old kernel's log had 'mapped boot instance'){keep}"
        )
    lay = ", ".join(f"{p.name} at {p.address:#x}, {p.size} bytes" for p in places)
    held = "; ".join(core.describe() for core in cores)
    return f"{begin}It does not hold the regions ({lay}), only {held}{keep}"


def still_there(previous: Previous | None, memories: Sequence[PhysicalMemory]) -> list[RegionSpec]:
    """The previous kernel's regions whose header is still where that kernel had it."""
    intact: list[RegionSpec] = []
    text = previous.kernel.get("text_address") if previous else None
    for place in previous.places if previous and text else ():
        for memory in memories:
            try:
                written = header_address(memory.read(place.address, 64))
            except SourceError:
                continue
            if written == ("_text", text):
                intact.append(place)
                break
    return intact


def _who_handed_nothing(previous: Previous | None) -> str:
    ways = (
        "KHO data are carried by 'kexec -s' (the file-based load) out of a kernel with kho=on; "
        "a reboot through the firmware and 'kexec -c' carry none"
    )
    if previous is None or not previous.kernel.get("known"):
        return f"no kernel handed KHO data to this one: {ways}"
    if not previous.handing and previous.command.kho is False:
        return (
            f"the kernel before this one ({previous.name}) had kho=off on its command line, so it "
            "handed nothing on: boot it with kho=on ('tracekit setup')"
        )
    if not previous.handing and previous.command.kho is None:
        default = {
            True: "KHO on by default, but its snapshot shows none",
            False: "no kho=on on its command line, and KHO is off by default in it",
            None: "no kho=on on its command line, unless KHO is on by default in it",
        }[previous.kho_default]
        return (
            f"the kernel before this one ({previous.name}) had {default}, so it handed nothing on: "
            "boot it with kho=on ('tracekit setup')"
        )
    return f"the kernel before this one ({previous.name}) had KHO on, but handed nothing on: {ways}"


def why_no_kho(
    root: Sysroot,
    remarks: Remarks,
    *,
    looked: str,
    pointer: str | None,
    previous: Previous | None,
) -> str:
    """Why there are no KHO data, in words.

    ``looked`` names the places that were searched; ``pointer`` is the file with the boot parameter
    that says where they are, None where there is none.
    """
    command = parse_cmdline(
        (remarks.get(root, "proc/cmdline", None) or b"").decode("utf-8", "replace")
    )
    try:
        log = (root.kernel_log() or b"").decode("utf-8", "replace")
    except SourceError as error:
        log = ""
        remarks.add("file-unreadable", "warning", "dmesg", str(error))
    reasons: list[str] = []
    if refused := log_lines(log, _REFUSED):
        reasons.append(f"this kernel refused the old kernel's data: its log says {quote(refused)}")
    elif pointer is not None:
        reasons.append(
            f"{pointer} says that KHO data came, but neither debugfs nor physical memory gives "
            "them: mount debugfs (mount -t debugfs nodev /sys/kernel/debug)" + why_locked(root)
        )
    else:
        reasons.append(_who_handed_nothing(previous))
    switch = {True: "on", False: "off", None: "not given"}[command.kho]
    reasons.append(f"kho= on this kernel's command line: {switch}")
    if unreadable := [d.message for d in remarks.diagnostics if d.code == "file-unreadable"]:
        reasons.append(f"unreadable: {'; '.join(unreadable[:_MAX_LINES])}")
    reasons.append("a range that you know of can be named: --region NAME@ADDRESS:SIZE")
    reasons.append(f"looked at {looked}")
    return "no KHO data:\n  " + "\n  ".join(reasons)
