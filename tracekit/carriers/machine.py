"""The machine below a root, live or a saved tree, as carriers and the doctor's checks see it."""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from functools import cached_property

from tracekit.carriers.memory_use import Memory, carried_regions, read_memory
from tracekit.errors import SourceError
from tracekit.parameters import (
    CommandLine,
    RegionSpec,
    TraceInstance,
    parse_cmdline,
    split_parameters,
)
from tracekit.sysroot import KHO_ROOTS, Sysroot, find_tracefs

__all__ = [
    "LOCKDOWN",
    "VMCORE",
    "Machine",
    "config_text",
    "crash_kernel",
    "lockdown_mode",
    "mapped_instances",
]

#: A crashed kernel's memory, as its crash kernel shows it.
VMCORE = "proc/vmcore"
_ELFCOREHDR = "sys/firmware/devicetree/base/chosen/linux,elfcorehdr"  # arm64 has no parameter
#: Which kind of kernel lockdown is in force.
LOCKDOWN = "sys/kernel/security/lockdown"
_CHOSEN = re.compile(r"\[(\w+)\]")
_RELEASE = re.compile(r"Linux version (\S+)")
_OPTION = re.compile(r"^CONFIG_(\w+)=(.*)$", re.M)
_MAX_CONFIG = 16 << 20
# enable_instances() in kernel/trace/trace.c
_MAPPED = re.compile(
    r"Tracing: mapped boot instance (\S+) at physical memory (0x[0-9a-f]{1,16}) "
    r"of size (0x[0-9a-f]{1,16})"
)


@dataclass
class Machine:
    """The machine below ``root``; its files are read when they are needed."""

    root: Sysroot

    def get(self, rel: str) -> bytes | None:
        """A kernel file, None when it is absent or cannot be read."""
        try:
            return self.root.get(rel)
        except SourceError:
            return None

    def text(self, rel: str) -> str:
        """A kernel file as text, '' when it is absent or cannot be read."""
        return (self.get(rel) or b"").decode("utf-8", "backslashreplace")

    @property
    def blind(self) -> bool:
        """Whether this runs on a live machine without being root."""
        return self.root.live and os.geteuid() != 0

    @cached_property
    def command(self) -> CommandLine:
        """The kernel's command line."""
        return parse_cmdline(self.text("proc/cmdline"))

    @cached_property
    def release(self) -> str:
        """The kernel's release, '' when unknown."""
        match = _RELEASE.search(self.text("proc/version"))
        return match[1] if match else ""

    @cached_property
    def architecture(self) -> str:
        """``x86_64``, ``aarch64``; '' where nothing tells."""
        if self.root.live:
            return os.uname().machine
        info = self.text("proc/cpuinfo")
        if "CPU implementer" in info:
            return "aarch64"
        return "x86_64" if re.search(r"^(flags|vendor_id)\s*:", info, re.M) else ""

    @cached_property
    def config(self) -> dict[str, str] | None:
        """The options that are set (``KEXEC_FILE`` -> ``y``), None when they are not known."""
        text = config_text(self.get("proc/config.gz") or b"")
        places = (f"boot/config-{self.release}", f"lib/modules/{self.release}/config")
        for place in places if self.release else ():
            text = text or self.text(place)
        return dict(_OPTION.findall(text)) or None

    @cached_property
    def log(self) -> str:
        """The kernel's log, '' when it cannot be read."""
        try:
            return (self.root.kernel_log() or b"").decode("utf-8", "backslashreplace")
        except SourceError:
            return ""

    def has_symbol(self, name: str) -> bool | None:
        """Whether kallsyms lists a function; None where it shows too little to tell."""
        symbols = self._symbols
        return f" {name}\n".encode() in symbols if b" ring_buffer_write\n" in symbols else None

    @cached_property
    def _symbols(self) -> bytes:
        return self.get("proc/kallsyms") or b""

    @cached_property
    def mounts(self) -> dict[str, list[str]] | None:
        """File system type -> mount points; None for a tree, which has none."""
        lines = [line.split() for line in self.text("proc/self/mounts").splitlines()]
        points: dict[str, list[str]] = {}
        for words in lines:
            if len(words) > 2:
                points.setdefault(words[2], []).append(words[1])
        return points or None

    @cached_property
    def kho(self) -> str | None:
        """Where debugfs shows KHO, None when it does not."""
        return next((p for p in KHO_ROOTS if self.root.exists(f"{p}/out")), None)

    @cached_property
    def tracefs(self) -> str | None:
        """Where tracefs is mounted; None when it is not, or only root may look."""
        return find_tracefs(self.root)

    @cached_property
    def regions(self) -> list[RegionSpec]:
        """The regions that KHO will hand over, as far as debugfs shows them."""
        return carried_regions(self.root)

    @property
    def kho_built(self) -> bool | None:
        """Whether the kernel has KHO: by its configuration, else by what it shows; None: unknown.

        ``kho_is_enabled()`` is in ``kernel/liveupdate/kexec_handover.c``.
        """
        if self.kho is not None:
            return True
        if self.ignores("kho"):
            return False
        option = self.option("KEXEC_HANDOVER")
        return self.has_symbol("kho_is_enabled") if option is None else option == "y"

    @property
    def kho_enabled(self) -> bool | None:
        """Whether KHO is on: by ``kho=``, else by its default; None where that is unknown."""
        if self.command.kho is not None:
            return self.command.kho
        default = self.option("KEXEC_HANDOVER_ENABLE_DEFAULT")
        return None if default is None else default == "y"

    @property
    def gave_up_kho(self) -> str:
        """The line of the log that says that KHO was given up at boot, '' where none does."""
        lines = self.log_lines("disabling kexec handover", "Failed to reserve scratch area")
        return lines[0] if lines else ""

    def ignores(self, parameter: str) -> bool:
        """Whether the log says that this kernel does not know the parameter ``NAME=...``.

        ``print_unknown_bootoptions()`` in ``init/main.c``.
        """
        lines = self.log.splitlines()
        unknown = [line for line in lines if "Unknown kernel command line parameters" in line]
        return any(re.search(rf"[\s\"]{parameter}=", line) for line in unknown)

    @property
    def crash_kernel(self) -> str:
        """What shows that a crashed kernel left for this one, '' where nothing does."""
        return crash_kernel(self.root)

    @cached_property
    def memory(self) -> Memory:
        """Who uses which memory."""
        return read_memory(self.root)

    @property
    def instance(self) -> TraceInstance | None:
        """The trace instance on reserved memory that the command line creates."""
        preserved = (
            i for i in self.command.instances if i.region is not None or i.address is not None
        )
        return next(preserved, None)

    def option(self, name: str) -> str | None:
        """``y``, ``m``, a value, ``n`` when not set; None when the configuration is not known."""
        return None if self.config is None else self.config.get(name, "n")

    def log_lines(self, *wanted: str) -> list[str]:
        """The first few lines of the log that contain one of the texts."""
        lines = (line for line in self.log.splitlines() if any(w in line for w in wanted))
        return [" ".join(line.split())[:200] for line in lines][:3]


def mapped_instances(log: str) -> dict[str, tuple[int, int]]:
    """Instance -> (physical address, size) of the memory the kernel's log says it maps."""
    return {m[1]: (int(m[2], 16), int(m[3], 16)) for m in _MAPPED.finditer(log)}


def crash_kernel(root: Sysroot) -> str:
    """What shows that this is a crash kernel, which a panic has brought up; '' where nothing does.

    ``is_kdump_kernel()`` in ``include/linux/crash_dump.h`` asks for an ``elfcorehdr`` too.
    """
    try:
        cmdline = (root.get("proc/cmdline") or b"").decode("utf-8", "replace")
    except SourceError:
        cmdline = ""
    named = [value for name, value in split_parameters(cmdline) if name == "elfcorehdr"]
    if named:
        return f"elfcorehdr={named[-1]} is on its command line"
    if root.exists(_ELFCOREHDR):
        return f"{root.where(_ELFCOREHDR)} is there"
    return f"{root.where(VMCORE)} is there" if root.exists(VMCORE) else ""


def lockdown_mode(root: Sysroot) -> str | None:
    """``none``, ``integrity`` or ``confidentiality``; None where the kernel does not say."""
    try:
        text = (root.get(LOCKDOWN) or b"").decode("ascii", "replace")
    except SourceError:
        return None
    chosen = _CHOSEN.search(text)
    return chosen[1] if chosen else None


def config_text(config_gz: bytes) -> str:
    """The text of ``/proc/config.gz``; '' when it is damaged or absurdly large."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        text = stream.decompress(config_gz, _MAX_CONFIG)
    except zlib.error:
        return ""
    return text.decode("utf-8", "backslashreplace") if stream.eof else ""
