"""The probes of a recording: BPF where it is available, else kprobe events in the instance."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tracekit.capture.record.instance import Instance
from tracekit.probes.compiler import ProbesUnavailable
from tracekit.probes.kprobes import GROUP, plan_kprobes
from tracekit.probes.loader import load_probes
from tracekit.probes.prepare import Prepared, prepare_probes
from tracekit.remarks import Progress, Remarks
from tracekit.session.files import dump_json
from tracekit.sysroot import Sysroot

__all__ = ["Probing", "define_kprobes", "enable_kprobes", "prepared_probes"]

_PRINTK_EVENT = "bpf_trace:bpf_trace_printk"


def define_kprobes(root: Sysroot, instance: Instance) -> Mapping[str, Any]:
    """Define kprobe events on the kexec path; describes them for ``bpf.json``."""
    plan = plan_kprobes(root)
    refused = dict(instance.add_kprobes(plan.lines))
    for line, (event, wanted) in plan.filters.items():
        if line not in refused and (why := instance.filter_kprobe(event, wanted)):
            refused[line] = why
    return plan.describe(refused)


def enable_kprobes(instance: Instance) -> None:
    """Enable tracekit's kprobe events in the instance."""
    instance.enable([f"{GROUP}:*"])


def _lost(description: bytes | None) -> int:
    """The records that a ``bpf.json`` says were lost, 0 where it is absent or damaged."""
    try:
        lost = json.loads(description or b"{}").get("lost", 0)
    except (ValueError, AttributeError, RecursionError):
        return 0
    return lost if type(lost) is int and lost > 0 else 0


def prepared_probes(root: Sysroot, progress: Progress) -> Prepared | ProbesUnavailable:
    """The BPF programs, compiled for this kernel now or before; else what stands against them.

    Takes seconds where they must be compiled, and is best called before anything is armed.
    """
    with progress("preparing the BPF programs (compiled once for a kernel)", None):
        try:
            return prepare_probes(root)
        except ProbesUnavailable as error:
            return error


class Probing:
    """The probes of a recording (``mode``: bpf or kprobes), and the records they yield."""

    def __init__(
        self,
        root: Sysroot,
        instance: Instance,
        prepared: Prepared | ProbesUnavailable | None,
        remarks: Remarks,
        earlier: bytes | None = None,
    ) -> None:
        """``prepared`` is None where BPF is not wanted (``--no-bpf``).

        ``earlier`` is the ``bpf.json`` of a recording of the same boot before this one.
        """
        self._lost_before = _lost(earlier)
        self._probes = None
        why = "--no-bpf"
        try:
            if isinstance(prepared, ProbesUnavailable):
                raise prepared
            if prepared is not None:
                self._probes = load_probes(prepared, instance.name)
                instance.enable([_PRINTK_EVENT])
        except ProbesUnavailable as error:
            why = str(error)
            remarks.add(
                "probes-unavailable", "warning", "BPF probes",
                f"{why}; kprobe events cover the phases instead",
            )  # fmt: skip
        if self._probes is None:
            self._description = {**define_kprobes(root, instance), "reason": why}
            enable_kprobes(instance)
        for entry in self._describe().get("missing", ()):
            remarks.add("probe-absent", "info", str(entry["event"]), str(entry["reason"]))

    @property
    def mode(self) -> str:
        """``bpf`` or ``kprobes``."""
        return "bpf" if self._probes else "kprobes"

    @property
    def lost(self) -> int:
        """Records that found the BPF ring buffer full."""
        return self._lost_before + (self._probes.lost if self._probes else 0)

    def poll(self, timeout_ms: int) -> bytes:
        """Records since the last call, waiting up to ``timeout_ms`` for one."""
        if self._probes is not None:
            return self._probes.poll(timeout_ms)
        time.sleep(timeout_ms / 1000)
        return b""

    def counters(self) -> bytes:
        """One record per CPU of the events that are only counted."""
        return self._probes.counters() if self._probes else b""

    def _describe(self) -> Mapping[str, Any]:
        return self._probes.describe() if self._probes else self._description

    def describe(self) -> bytes:
        """The content of ``bpf.json``."""
        return dump_json({**self._describe(), "lost": self.lost})

    def close(self) -> None:
        """Detach the BPF probes; kprobe events stay until the instance is restored."""
        if self._probes is not None:
            self._probes.close()
