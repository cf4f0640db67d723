"""``kernel.json``, the description of a boot, made by pure functions over kernel files."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from tracekit.carriers.machine import config_text
from tracekit.errors import Diagnostic
from tracekit.parameters import TraceInstance, parse_cmdline

__all__ = [
    "UNKNOWN_KERNEL",
    "build_id",
    "describe_kernel",
    "online_cpus",
    "remarks_on",
    "symbol_address",
]

_NT_GNU_BUILD_ID = 3
_TYPE_OF_LOADER = 0x210
_RELEASE = re.compile(r"Linux version (\S+)")
_CONFIG = re.compile(r"^CONFIG_(\w+)=(.*)$", re.M)
_CPU = re.compile(r"^cpu\d+\b", re.M)
_BTIME = re.compile(r"^btime (\d{1,18})$", re.M)
_CHOSEN = re.compile(r"\[([^\s\[\]]+)\]")
_CHAR_DATA = re.compile(r"field:\s*char data;\s*offset:(\d{1,6});\s*size:(\d{1,6});")

UNKNOWN_KERNEL: Mapping[str, Any] = {
    "known": False,
    "release": None,
    "version": None,
    "build_id": None,
    "boot_id": None,
    "hostname": None,
    "cmdline": None,
    "cpus": None,
    "page_size": None,
    "machine": None,
    "text_address": None,
    "trace_clock": None,
    "trace_instances": [],
    "config_hz": None,
    "btime_s": None,
    "uptime_s": None,
    "kexec_metadata": None,
    "boot_loader": None,
}
"""The keys of ``kernel.json``; None is what was not recorded. Times are in seconds."""


def build_id(notes: bytes) -> str | None:
    """The GNU build id in ``/sys/kernel/notes`` (ELF notes, 4-byte aligned), in hex, or None."""
    offset = 0
    while offset + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, offset)
        name = notes[offset + 12 : offset + 12 + name_size]
        start = offset + 12 + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and 0 < size <= len(notes) - start:
            return notes[start : start + size].hex()
        offset = start + (size + 3 & ~3)
    return None


def online_cpus(stat: str) -> int | None:
    """How many ``cpuN`` lines ``/proc/stat`` has: one for every CPU that is online."""
    return len(_CPU.findall(stat)) or None


def symbol_address(kallsyms: bytes, name: str) -> int | None:
    """The address of a symbol of the kernel itself; None when absent or hidden (zeros)."""
    pattern = rb"^([0-9a-f]{8,16}) [A-Za-z] " + re.escape(name.encode()) + rb"$"
    match = re.search(pattern, kallsyms, re.M)
    return (int(match[1], 16) or None) if match else None


def _page_size(config: Mapping[str, str], header_page: str) -> int | None:
    """From CONFIG_PAGE_SHIFT, else from the size of a sub-buffer (one page unless resized)."""
    shift = config.get("PAGE_SHIFT", "")
    if shift in ("12", "13", "14", "15", "16"):
        return 1 << int(shift)
    if (match := _CHAR_DATA.search(header_page)) is not None:
        size = int(match[1]) + int(match[2])
        return size if size in (4096, 16384, 65536) else None
    return None


def _boot_loader(boot_params: bytes) -> int | None:
    """``type_of_loader`` of ``struct boot_params`` (x86, setup_header at 0x1f1); None elsewhere."""
    found = boot_params[_TYPE_OF_LOADER : _TYPE_OF_LOADER + 1]
    return found[0] if found and found[0] else None


def _machine(config: Mapping[str, str]) -> str | None:
    for option, machine in (("X86_64", "x86_64"), ("ARM64", "aarch64")):
        if config.get(option) == "y":
            return machine
    return None


def _instance(instance: TraceInstance) -> dict[str, Any]:
    return {
        "name": instance.name,
        "flags": list(instance.flags),
        "region": instance.region,
        "address": instance.address,
        "size": instance.size,
        "events": list(instance.events),
        "backup": instance.backup,
    }


def describe_kernel(files: Mapping[str, bytes]) -> dict[str, Any]:
    """``kernel.json`` of a boot, from the files that could be read.

    The keys of ``files`` are ``version``, ``cmdline``, ``boot_id``, ``hostname``, ``stat``,
    ``uptime``, ``notes``, ``kallsyms``, ``config.gz``, ``boot_params``, ``header_page``,
    ``trace_clock``; any may be missing.
    """

    def text(name: str) -> str:
        return files.get(name, b"").decode("utf-8", "backslashreplace")

    release = _RELEASE.search(text("version"))
    config = dict(_CONFIG.findall(config_text(files.get("config.gz", b""))))
    command = parse_cmdline(text("cmdline"))
    btime = _BTIME.search(text("stat"))
    uptime = re.match(r"(\d{1,12}\.\d+) ", text("uptime"))
    chosen = _CHOSEN.search(text("trace_clock"))
    hz = config.get("HZ", "")
    return dict(UNKNOWN_KERNEL) | {
        "known": True,
        "release": release[1] if release else None,
        "version": text("version").strip() or None,
        "build_id": build_id(files.get("notes", b"")),
        "boot_id": text("boot_id").strip() or None,
        "hostname": text("hostname").strip() or None,
        "cmdline": command.text if "cmdline" in files else None,
        "cpus": online_cpus(text("stat")),
        "page_size": _page_size(config, text("header_page")),
        "machine": _machine(config),
        "text_address": symbol_address(files.get("kallsyms", b""), "_text"),
        "trace_clock": chosen[1] if chosen else None,
        "trace_instances": [_instance(instance) for instance in command.instances],
        "config_hz": int(hz) if hz.isdecimal() and len(hz) < 6 else None,
        "btime_s": int(btime[1]) if btime else None,
        "uptime_s": float(uptime[1]) if uptime else None,
        "boot_loader": _boot_loader(files.get("boot_params", b"")),
    }


def remarks_on(kernel: Mapping[str, Any], where: str) -> list[Diagnostic]:
    """Remarks on what decoding will have to do without."""
    wanted = {
        "text_address": "no address of _text: kallsyms is missing or hidden by kptr_restrict; "
        "functions are shown as addresses",
        "boot_id": "no boot_id: boots are told apart by version, command line and boot time",
        "cpus": "the number of CPUs is unknown",
        "page_size": "the page size is unknown; 4096 is assumed",
    }
    return [
        Diagnostic("kernel-unknown", "info", f"{where} kernel.json {key}", message)
        for key, message in wanted.items()
        if not kernel.get(key)
    ]
