"""The doctor's checks on the probes: what they are compiled with, and which kind there will be."""

from __future__ import annotations

import os
from collections.abc import Callable

from tracekit.btf import VMLINUX
from tracekit.capture.doctor.check import Check
from tracekit.carriers.machine import Machine, lockdown_mode
from tracekit.probes.bcc_module import find_bcc
from tracekit.probes.headers import Headers, header_choices, installed_headers
from tracekit.probes.libbpf import BpfError, library

__all__ = ["CHECKS", "LIVE_CHECKS"]

_KPROBES = "sys/bus/event_source/devices/kprobe/type"
_NO_BCC = "install python3-bpfcc (Debian) or python3-bcc; BCC is not on PyPI"


def _choices(m: Machine) -> tuple[Headers, ...]:
    arch = m.text("proc/sys/kernel/arch").strip() or os.uname().machine
    return header_choices(m.root, m.release, arch)


def headers(m: Machine) -> Check:
    """The headers that BCC compiles the probes with, and where names and offsets come from."""
    installed = installed_headers(m.root, m.release)
    there = installed.place if installed else f"no headers of {m.release or 'this kernel'}"
    btf = m.root.exists(VMLINUX)
    types = "BTF is there" if btf else "no BTF: devices and control files have no names"
    choices = _choices(m)
    if not choices:
        return Check(
            "headers", "warning", f"{there}, and tracekit has none for this architecture, {types}",
            f"install the headers of {m.release or 'this kernel'} (linux-headers, kernel-devel) or "
            "load the module kheaders; without them kprobe events are used (--no-bpf)",
        )  # fmt: skip
    found = f"{'tracekit has its own' if choices[0].own else choices[0].place} ({there}), {types}"
    if not btf:
        return Check("headers", "warning", found,
                     "boot a kernel with CONFIG_DEBUG_INFO_BTF, as distributions do")  # fmt: skip
    return Check("headers", "ok", found)


def bcc(_: Machine) -> Check:
    """BCC's module for this Python."""
    spec = find_bcc()
    if spec is not None:
        return Check("bcc", "ok", f"{spec.origin or 'found'}")
    return Check(
        "bcc", "warning", "no module bcc: no per-device times, no KHO activity",
        f"{_NO_BCC}; without it kprobe events are used (--no-bpf)",
    )  # fmt: skip


def _against_bpf(m: Machine) -> str:
    """What stands against BPF probes; '' where nothing is known to."""
    if lockdown_mode(m.root) == "confidentiality":
        return "kernel lockdown is 'confidentiality'"
    if m.option("BPF_SYSCALL") == "n" or m.option("BPF_EVENTS") == "n":
        return "CONFIG_BPF_SYSCALL or CONFIG_BPF_EVENTS is not set"
    if not _choices(m):
        return "no headers"
    if not m.root.live:
        return ""
    try:
        library()
    except BpfError as error:
        return str(error)
    return "no BCC" if find_bcc() is None else ""


def _tracers(m: Machine) -> str:
    """How far the tracers' own code can be seen."""
    option = m.option("KPROBE_EVENTS_ON_NOTRACE")
    if option == "y":
        return "the tracers' own code can be probed, too"
    known = "" if option == "n" else "unless this kernel has CONFIG_KPROBE_EVENTS_ON_NOTRACE, "
    return f"{known}of the tracers the control files and counters are seen, not their code"


def probes(m: Machine) -> Check:
    """Which kind of probes 'tracekit record' will have here."""
    option, seen = m.option("KPROBE_EVENTS"), m.root.exists(_KPROBES)
    if option is None and not seen and not m.root.live:
        return Check("probes", "unknown", f"no configuration and no {m.root.where(_KPROBES)}",
                     "'tracekit doctor' on the running kernel finds out")  # fmt: skip
    if option == "n" or (m.root.live and not seen):
        return Check("probes", "warning", "CONFIG_KPROBE_EVENTS is not set: no probes at all",
                     "boot a kernel that has it; without, only the kernel's own events are "
                     "recorded")  # fmt: skip
    against = _against_bpf(m)
    if against:
        return Check("probes", "warning", f"kprobe events, not BPF: {against}; {_tracers(m)}",
                     "kprobe events cover the phases and most devices; what they miss is in "
                     "docs/probes.md")  # fmt: skip
    if not m.root.live:
        return Check("probes", "ok", f"BPF where BCC is installed, else kprobe events; "
                                     f"{_tracers(m)}")  # fmt: skip
    return Check("probes", "ok", f"BPF; {_tracers(m)}")


CHECKS: tuple[Callable[[Machine], Check], ...] = (headers, probes)
LIVE_CHECKS: tuple[Callable[[Machine], Check], ...] = (bcc,)
