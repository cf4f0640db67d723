"""Saves one boot's side into the session: everything needed to decode its recording later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracekit.capture.save.clocks import (
    clock_readings,
    clock_samples,
    merge_markers,
    merge_samples,
    valid_sample,
)
from tracekit.capture.save.kernel import describe_kernel, remarks_on
from tracekit.capture.save.remarks import Progress, Remarks
from tracekit.errors import SessionError, Severity, SourceError
from tracekit.session import SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.sysroot import KHO_ROOTS, TRACEFS, Sysroot, find_tracefs

__all__ = [
    "Saving",
    "kernel_facts",
    "refresh_boot",
    "save_boot",
    "save_clocks",
]

_TRACEFS_FILES: Mapping[str, Severity | None] = {
    "events/header_page": "warning",
    "events/header_event": "info",
    "saved_cmdlines": "warning",
    "printk_formats": "info",
    "trace_clock": "warning",
    # The rest depends on the configuration and on what is in use.
    "saved_tgids": None,
    "kprobe_events": None,
    "uprobe_events": None,
    "dynamic_events": None,
    "trace_options": None,
    "timestamp_mode": None,
    "buffer_size_kb": None,
    "buffer_subbuf_size_kb": None,
    "available_tracers": None,
    "current_tracer": None,
}
_MAX_READINGS = 1 << 10  # the newest are kept; taken where no counter can be read
_CHANGING = ("saved_cmdlines", "saved_tgids", "kprobe_events")
_INSTANCE_FILES = (
    "trace_clock",
    "current_tracer",
    "set_event",
    "buffer_size_kb",
    "buffer_subbuf_size_kb",
    "timestamp_mode",
    "tracing_on",
    "trace_options",
    "last_boot_info",
)
# session name -> (kernel file, how bad its absence is, compressed)
_BOOT_FILES: Mapping[str, tuple[str, Severity | None, bool]] = {
    "kallsyms": ("proc/kallsyms", "warning", True),
    "modules": ("proc/modules", "info", False),
    "iomem": ("proc/iomem", "info", False),
    "cpuinfo": ("proc/cpuinfo", None, False),
    "config.gz": ("proc/config.gz", None, False),
}
_FACTS: Mapping[str, tuple[str, Severity | None]] = {
    "version": ("proc/version", "warning"),
    "cmdline": ("proc/cmdline", "warning"),
    "boot_id": ("proc/sys/kernel/random/boot_id", None),
    "stat": ("proc/stat", "info"),
    "uptime": ("proc/uptime", None),
    "notes": ("sys/kernel/notes", "info"),
    "config.gz": ("proc/config.gz", None),
    "kallsyms": ("proc/kallsyms", None),
}


@dataclass(frozen=True, slots=True)
class Saving:
    """One boot being saved: its source, its place in the session, remarks and progress.

    ``at_hand`` holds kernel files that were read already: kallsyms takes long on a live machine.
    """

    root: Sysroot
    writer: SessionWriter
    boot: int
    remarks: Remarks
    progress: Progress
    at_hand: Mapping[str, bytes]

    def rel(self, name: str) -> str:
        """The name in the session of a file of this boot."""
        return f"boots/{self.boot}/{name}"

    def get(self, rel: str, absent: Severity | None = "info") -> bytes | None:
        """A kernel file, see :meth:`Remarks.get`."""
        if (data := self.at_hand.get(rel)) is not None:
            return data
        return self.remarks.get(self.root, rel, absent)

    def glob(self, pattern: str) -> list[str]:
        """Kernel files, see :meth:`Remarks.glob`."""
        return self.remarks.glob(self.root, pattern)


def kernel_facts(root: Sysroot, remarks: Remarks) -> tuple[dict[str, Any], dict[str, bytes]]:
    """``kernel.json`` of the root's boot, and the kernel files that were read for it."""
    files = {rel: remarks.get(root, rel, absent) for rel, absent in _FACTS.values()}
    names = {name: rel for name, (rel, _) in _FACTS.items()}
    if (tracefs := find_tracefs(root)) is not None:
        names |= {"header_page": f"{tracefs}/events/header_page"}
        names |= {"trace_clock": f"{tracefs}/trace_clock"}
        for name in ("header_page", "trace_clock"):
            files[names[name]] = remarks.get(root, names[name], None)
    at_hand = {rel: data for rel, data in files.items() if data is not None}
    kernel = describe_kernel({n: at_hand[rel] for n, rel in names.items() if rel in at_hand})
    if root.live:
        kernel["page_size"] = os.sysconf("SC_PAGE_SIZE")
        kernel["machine"] = os.uname().machine
    return kernel, at_hand


def _tracefs_files(saving: Saving, tracefs: str) -> Iterator[tuple[str, str]]:
    """(name in the session's tracefs/, kernel file) of all that is saved where it exists."""
    formats = saving.glob(f"{tracefs}/events/*/*/format")
    wanted = [f"{tracefs}/{name}" for name in _TRACEFS_FILES]
    for rel in formats + wanted + saving.glob(f"{tracefs}/per_cpu/cpu[0-9]*/stats"):
        yield rel.removeprefix(f"{tracefs}/"), rel
    yield from _instance_files(saving, tracefs)


def _instance_files(saving: Saving, tracefs: str) -> Iterator[tuple[str, str]]:
    """The same for the instances alone."""
    for instance in saving.glob(f"{tracefs}/instances/*"):
        name = instance.rpartition("/")[2]
        plain = safe_name(name)
        if plain != name:
            saving.remarks.add("name-replaced", "info", instance, f"saved as {plain}")
        stats = saving.glob(f"{instance}/per_cpu/cpu[0-9]*/stats")
        for rel in [f"{instance}/{file}" for file in _INSTANCE_FILES] + stats:
            yield f"instances/{plain}/{rel.removeprefix(f'{instance}/')}", rel


def _save_tracefs(saving: Saving, tracefs: str) -> int:
    """Save ``tracefs/``; returns how many event formats there were."""
    formats = 0
    files = list(_tracefs_files(saving, tracefs))
    with (
        saving.progress("saving event formats", len(files)) as advance,
        saving.writer.tree(
            saving.rel("tracefs"), keep=lambda name: name.endswith("/trace_pipe_raw")
        ) as tree,
    ):
        for name, rel in files:
            data = saving.get(rel, _TRACEFS_FILES.get(name))
            advance(1)
            if data is None:
                continue
            try:
                tree.write(name, data)
            except SessionError as error:
                saving.remarks.add("name-refused", "warning", rel, str(error))
            else:
                formats += name.endswith("/format")
    return formats


def _save_kho(saving: Saving) -> None:
    """Save KHO's data in debugfs: what came ``in`` and what is to go ``out``."""
    exists = saving.root.exists
    place = next((p for p in KHO_ROOTS if exists(f"{p}/in") or exists(f"{p}/out")), None)
    if place is None:
        return
    with saving.writer.tree(saving.rel("kho")) as tree:
        for side in ("in", "out"):
            blobs = saving.glob(f"{place}/{side}/sub_fdts/*")
            for name in ("fdt", "scratch_phys", "scratch_len"):
                blobs += saving.glob(f"{place}/{side}/{name}")
            for rel in blobs:
                data = saving.get(rel)
                *above, name = rel.removeprefix(f"{place}/").split("/")
                if data is not None:
                    tree.write("/".join((*above, safe_name(name))), data)


def save_clocks(saving: Saving, markers: Sequence[Mapping[str, Any]] = ()) -> None:
    """Save ``clocks.json``: samples taken now, and those an earlier run saved of this boot."""
    rel = saving.rel("clocks.json")
    try:
        document = json.loads(saving.writer.read(rel) or b"{}")
        earlier = [s for s in document.get("samples", []) if valid_sample(s)]
        readings = list(document.get("readings", []))
    except (ValueError, AttributeError, TypeError, RecursionError):
        document, earlier, readings = {}, [], []  # not a file that tracekit wrote
    new = clock_samples(saving.root, saving.remarks)
    if not new:
        readings += clock_readings(saving.root)
    document = {
        "samples": merge_samples(earlier, new),
        "readings": readings[-_MAX_READINGS:],
        "markers": merge_markers(document, markers),
    }
    saving.writer.write(rel, dump_json(document))


def _save_log(saving: Saving) -> None:
    try:
        log = saving.root.kernel_log()
    except SourceError as error:
        saving.remarks.add("file-unreadable", "warning", "dmesg", str(error))
        return
    if log is None:
        saving.remarks.add("file-absent", "info", "dmesg", "the tree has no dmesg; not saved")
    else:
        saving.writer.write(saving.rel("dmesg"), log)


def refresh_boot(saving: Saving, markers: Sequence[Mapping[str, Any]] = ()) -> None:
    """Save again what changes while a boot is being recorded: names, counters, clocks, the log."""
    save_clocks(saving, markers)
    tracefs = find_tracefs(saving.root)
    if tracefs is not None:
        for name in _CHANGING:
            if (data := saving.get(f"{tracefs}/{name}", None)) is not None:
                saving.writer.write(saving.rel(f"tracefs/{name}"), data)
        with saving.writer.tree(saving.rel("tracefs/instances")) as tree:
            for name, rel in _instance_files(saving, tracefs):
                if (data := saving.get(rel, None)) is not None:
                    tree.write(name.removeprefix("instances/"), data)
    _save_log(saving)


def save_boot(
    saving: Saving, kernel: Mapping[str, Any], markers: Sequence[Mapping[str, Any]] = ()
) -> int:
    """Save the boot, or save it again.

    ``kernel`` is its ``kernel.json``, written last: a boot that has one is complete; ``markers``
    are samples of the trace clock. Returns the number of event formats; without a tracefs that is
    0, with an error among the remarks.
    """
    save_clocks(saving, markers)  # first, for samples as close to the jump as possible
    tracefs = find_tracefs(saving.root)
    formats = 0
    if tracefs is None:
        saving.remarks.add(
            "tracefs-absent",
            "error",
            " and ".join(TRACEFS),
            "no events/ there: mount it with 'mount -t tracefs nodev /sys/kernel/tracing'",
        )
    else:
        formats = _save_tracefs(saving, tracefs)
    _save_kho(saving)
    for name, (rel, absent, compressed) in _BOOT_FILES.items():
        if (data := saving.get(rel, absent)) is not None:
            saving.writer.write(saving.rel(name), data, compressed=compressed)
    _save_log(saving)
    for remark in remarks_on(kernel, f"boot {saving.boot}"):
        saving.remarks.append(remark)
    saving.writer.write(saving.rel("kernel.json"), dump_json(kernel))
    saving.writer.add_boot(saving.boot)
    return formats
