"""Has the BPF programs ready before anything is armed: compiled now, or on an earlier occasion.

The only importer of ``bcc``, which is not on PyPI but in Debian's ``python3-bpfcc`` (or
``bcc-tools``, ``python3-bcc`` elsewhere).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracekit.probes import cache
from tracekit.probes.bcc_module import import_bcc
from tracekit.probes.compiler import ProbesUnavailable, Sources, compile_programs, unavailable
from tracekit.probes.headers import Headers, header_choices
from tracekit.probes.kernel import ProbedKernel
from tracekit.probes.objects import Objects
from tracekit.sysroot import Sysroot

__all__ = ["PMU", "SUBJECTS", "Prepared", "prepare_probes"]

#: Parts of ``bpf/``, and what :attr:`~tracekit.probes.records.Kind.subject` names.
SUBJECTS = ("kexec", "devices", "kho", "ring_buffer", "control")

#: The kernel's kprobe perf events.
PMU = "sys/bus/event_source/devices/kprobe"


def _check(root: Sysroot) -> None:
    """Raise :class:`ProbesUnavailable` where loading is bound to fail."""
    if not root.live:
        raise ProbesUnavailable("BPF probes: only the running kernel can be probed, not a tree")
    if os.geteuid() != 0:
        raise unavailable("only root may load them", "run with sudo")
    if b"[confidentiality]" in (root.get("sys/kernel/security/lockdown") or b""):
        raise unavailable("kernel lockdown is 'confidentiality'", "boot with lockdown=integrity")
    if not root.exists(f"{PMU}/type"):
        raise unavailable("no kprobe perf events", "the kernel needs CONFIG_KPROBE_EVENTS")


def _headers(root: Sysroot) -> tuple[Headers, ...]:
    uname = os.uname()
    if choices := header_choices(root, uname.release, uname.machine):
        return choices
    raise unavailable(
        f"no headers of kernel {uname.release}, and tracekit has none for {uname.machine}",
        f"install linux-headers-{uname.release} or 'modprobe kheaders' (CONFIG_IKHEADERS)",
    )


def _bcc() -> Any:
    try:
        bcc = import_bcc()
    except (ImportError, OSError) as error:  # OSError: no libbcc
        raise unavailable(
            f"Python's bcc module cannot be imported ({error})",
            "install python3-bpfcc (Debian 13 or newer) or python3-bcc",
        ) from error
    if not hasattr(bcc, "BPF"):
        raise unavailable(f"{bcc.__file__} is another package", "remove it; BCC is not on PyPI")
    return bcc


class Prepared(NamedTuple):
    """Programs that are compiled for the running kernel; ``compiled``: now, not for another run."""

    root: Sysroot
    subjects: tuple[str, ...]
    kernel: ProbedKernel
    objects: Objects
    compiled: bool


def prepare_probes(
    root: Sysroot, subjects: Sequence[str] = SUBJECTS, headers: Sequence[Headers] = ()
) -> Prepared:
    """Compile the programs of ``subjects``, or take what was compiled for this kernel before.

    ``headers``: the trees to compile with, instead of what :func:`header_choices` finds.
    Raises :class:`ProbesUnavailable` where no probe can be loaded.
    """
    _check(root)
    kernel = ProbedKernel.read(root)
    if not any(kernel.addresses.values()):
        raise unavailable("/proc/kallsyms hides addresses", "sysctl kernel.kptr_restrict=1")
    sources = Sources.read(kernel, subjects, headers or _headers(root))
    build = (root.get("sys/kernel/notes") or b"") + (root.get("proc/version") or b"")
    place, name = Path(root.where(cache.CACHE)), sources.digest(build)
    objects = cache.kept(place, name)
    compiled = objects is None
    if objects is None:
        objects = compile_programs(_bcc(), sources)
        cache.keep(place, name, objects)
    return Prepared(root, tuple(subjects), kernel, objects, compiled)
