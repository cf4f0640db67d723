"""Saves one boot's side into the session: everything needed to decode its recording later."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tracekit.capture.kho.save import save_kho
from tracekit.capture.save.boots import known_boots
from tracekit.capture.save.clocks import (
    clock_readings,
    clock_samples,
    merge_markers,
    merge_samples,
    valid_sample,
)
from tracekit.capture.save.enumerators import save_enumerators
from tracekit.capture.save.kernel import describe_kernel, remarks_on
from tracekit.capture.save.kernel_log import joined_log
from tracekit.capture.save.knowledge import TABLES, Knowledge, event_of
from tracekit.capture.save.types import save_types
from tracekit.errors import SessionError, Severity, SourceError
from tracekit.frozen import dataclass
from tracekit.remarks import Progress, Remarks
from tracekit.session import SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.session.names import check_name
from tracekit.sysroot import TRACEFS, Sysroot, find_tracefs

__all__ = [
    "Saving",
    "kernel_facts",
    "refresh_boot",
    "save_boot",
    "save_clocks",
    "save_symbols",
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
_EVENTS = "events/"
_OPTIONS = "trace_options"
_MAX_READINGS = 1 << 10  # the newest are kept; taken where no counter can be read
_DYNAMIC = re.compile(rb"^[a-z]\d*:(\S+/\S+)", re.M)  # of kprobe_events and its kin
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
# session name -> (kernel file, how bad its absence is)
_BOOT_FILES: Mapping[str, tuple[str, Severity | None]] = {
    "iomem": ("proc/iomem", "info"),
    "cpuinfo": ("proc/cpuinfo", None),
    "meminfo": ("proc/meminfo", None),
    "config.gz": ("proc/config.gz", None),
}
_CHANGING = ("iomem", "meminfo")  # of these, while a boot lives
_FACTS: Mapping[str, tuple[str, Severity | None]] = {
    "version": ("proc/version", "warning"),
    "cmdline": ("proc/cmdline", "warning"),
    "boot_id": ("proc/sys/kernel/random/boot_id", None),
    "hostname": ("proc/sys/kernel/hostname", None),
    "stat": ("proc/stat", "info"),
    "uptime": ("proc/uptime", None),
    "notes": ("sys/kernel/notes", "info"),
    "boot_params": ("sys/kernel/boot_params/data", None),
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

    @property
    def knowledge(self) -> Knowledge:
        """What the session knows of this boot."""
        return Knowledge(self.root, self.writer, self.boot, self.remarks)

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
    events: dict[str, bytes] = {}
    options: list[bytes] = []
    files = list(_tracefs_files(saving, tracefs))
    knowledge = saving.knowledge

    def keep(name: str) -> bool:  # what cannot be read today, and pages of the buffer
        return name.endswith(("/trace_pipe_raw", "/snapshot_raw")) or knowledge.known

    with (
        saving.progress("saving event formats", len(files)) as advance,
        saving.writer.tree(saving.rel("tracefs"), keep) as tree,
    ):
        for name, rel in files:
            data = saving.get(rel, _TRACEFS_FILES.get(name))
            advance(1)
            if data is not None and name.startswith(_EVENTS):
                events[name] = data
            elif data is not None:
                tree.write(name, data)
                knowledge.keep(f"tracefs/{name}", data)
                options += [data] if name.endswith(_OPTIONS) else []
    formats = {name: data for name, data in events.items() if name.endswith("/format")}
    gone = knowledge.keep_formats(formats, {name for name, _ in files})
    _write_events(saving, events, gone)
    save_enumerators(saving.root, saving.writer, saving.boot, saving.remarks, formats.values())
    save_types(saving.root, saving.writer, saving.boot, saving.remarks, options)
    return len(formats)


def _write_events(saving: Saving, events: Mapping[str, bytes], gone: set[str]) -> None:
    """Save files of ``events/`` beside those that are known and not ``gone``."""
    files = saving.writer.formats(saving.boot) if saving.knowledge.known else {}
    for name in gone:
        files.pop(name.removeprefix(_EVENTS), None)
    for name, data in events.items():
        try:
            check_name(name)
        except SessionError as error:
            saving.remarks.add("name-refused", "warning", name, str(error))
        else:
            files[name.removeprefix(_EVENTS)] = data
    saving.writer.write_formats(saving.boot, files)


def _refresh_tables(saving: Saving, tracefs: str) -> set[str]:
    """Save the tables of names and events again; returns the ``SYSTEM/NAME`` in them."""
    dynamic: set[str] = set()
    for name in TABLES:
        if (data := saving.get(f"{tracefs}/{name}", None)) is not None:
            saving.knowledge.save(f"tracefs/{name}", data)
            if name.endswith("_events"):
                dynamic |= {event.decode("ascii", "replace") for event in _DYNAMIC.findall(data)}
    return dynamic


def _refresh_formats(saving: Saving, tracefs: str, dynamic: set[str]) -> None:
    """Save the formats of events that came, and those of ``dynamic`` ones, which may be others."""
    knowledge = saving.knowledge
    saved = set(knowledge.saved_formats())
    there: set[str] = set()
    formats: dict[str, bytes] = {}
    for rel in saving.glob(f"{tracefs}/events/*/*"):
        name = f"{rel.removeprefix(f'{tracefs}/')}/format"
        if name in saved and "/".join(event_of(name)) not in dynamic:
            there.add(name)
        elif (data := saving.get(f"{tracefs}/{name}", None)) is not None:
            there.add(name)
            formats[name] = data
    changed = knowledge.changed(formats)
    if not there or (not changed and saved <= there):
        return
    gone = knowledge.keep_formats(formats, there)
    _write_events(saving, changed, gone)


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
        earlier = saving.knowledge.earlier("dmesg") or b""
        joined, left_out = joined_log(earlier, log)
        if left_out:
            message = f"{left_out} lines between the boot's first and the newest are not kept"
            saving.remarks.add("log-cut", "info", "dmesg", message)
        saving.writer.write(saving.rel("dmesg"), joined)


def save_symbols(saving: Saving, *, anew: bool = False) -> None:
    """Save the modules, and kallsyms where those changed or where it is asked for ``anew``.

    On a live machine kallsyms takes long to read.
    """
    knowledge = saving.knowledge
    modules = saving.get("proc/modules")
    changed = modules is not None and knowledge.modules_changed(modules)
    anew = anew or changed or not saving.writer.has(saving.rel("kallsyms"))
    if modules is not None:
        knowledge.save("modules", modules)
    if anew and (kallsyms := saving.get("proc/kallsyms", "warning")) is not None:
        knowledge.save("kallsyms", kallsyms, compressed=True)


def refresh_boot(
    saving: Saving, markers: Sequence[Mapping[str, Any]] = (), *, last: bool = False
) -> None:
    """Save again what changes while a boot is being recorded.

    Names, events, modules, counters, clocks, the log; the ``last`` time also what the loaded
    kernel and what will be handed on have changed.
    """
    save_clocks(saving, markers)
    tracefs = find_tracefs(saving.root)
    if tracefs is not None:
        _refresh_formats(saving, tracefs, _refresh_tables(saving, tracefs))
        known, options = saving.knowledge.known, list[bytes]()
        with saving.writer.tree(saving.rel("tracefs/instances"), lambda _: known) as tree:
            for name, rel in _instance_files(saving, tracefs):
                if (data := saving.get(rel, None)) is not None:
                    tree.write(name.removeprefix("instances/"), data)
                    options += [data] if name.endswith(_OPTIONS) else []
        save_types(saving.root, saving.writer, saving.boot, saving.remarks, options)
    save_symbols(saving)
    if last:
        save_kho(saving.root, saving.writer, saving.boot, saving.remarks)
        _save_kernel_files(saving, _CHANGING)
    _save_log(saving)


def _save_kernel_files(saving: Saving, names: Collection[str] = _BOOT_FILES) -> None:
    for name, (rel, absent) in _BOOT_FILES.items():
        if name not in names:
            continue
        if (data := saving.get(rel, absent)) is not None:
            saving.knowledge.save(name, data)


def _with_earlier(saving: Saving, kernel: Mapping[str, Any]) -> dict[str, Any]:
    """``kernel.json``, with what an earlier save knew where this one does not."""
    earlier = known_boots(saving.writer).get(saving.boot, {})
    return {k: earlier.get(k, v) if v is None or v == [] else v for k, v in kernel.items()}


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
    save_kho(saving.root, saving.writer, saving.boot, saving.remarks)
    save_symbols(saving, anew="proc/kallsyms" in saving.at_hand)
    _save_kernel_files(saving)
    _save_log(saving)
    kernel = _with_earlier(saving, kernel)
    for remark in remarks_on(kernel, f"boot {saving.boot}"):
        saving.remarks.append(remark)
    saving.writer.write(saving.rel("kernel.json"), dump_json(kernel))
    saving.writer.add_boot(saving.boot)
    return formats
