"""Saves what changes while a boot lives so that nothing is forgotten that was known before.

The kernel forgets task names, removes events and unloads modules; what it recorded of them stays
in the buffer. So a line or a format that the session has and the kernel no longer shows is put into
``boots/N/earlier/`` (:mod:`tracekit.session.earlier`) before the newest takes its place: killed
between the two, it is there twice. And what the kernel hides today (``kptr_restrict``) does not
replace what it showed yesterday.

Only a boot that is listed in the session has been saved before: files of an unlisted one are left
over from a run that was killed, maybe in another boot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from tracekit.errors import SourceError
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter
from tracekit.session.earlier import (
    FORMATS,
    EarlierFormat,
    add_formats,
    add_lines,
    earlier_file,
    read_formats,
    write_formats,
)
from tracekit.sysroot import Sysroot

__all__ = ["TABLES", "Knowledge", "event_of"]

#: Tables of tracefs, a line each for a task, an event or a string.
TABLES = (
    "saved_cmdlines",
    "saved_tgids",
    "printk_formats",
    "kprobe_events",
    "uprobe_events",
    "dynamic_events",
)
# What shows that the addresses in a file are not hidden.
_SHOWN: Mapping[str, re.Pattern[bytes]] = {
    "kallsyms": re.compile(rb"^0*[1-9a-f][0-9a-f]* ", re.M),
    "modules": re.compile(rb" 0x0*[1-9a-f]"),
    "iomem": re.compile(rb"^ *[0-9a-f]+-0*[1-9a-f]", re.M),
}
_NO_NAME = (b" <...>", b" <XXX>")  # __trace_find_cmdline(), kernel/trace/trace_sched_switch.c
_NO_ADDRESS = re.compile(rb"0+ ")
_MODULE = re.compile(rb"^(\S+ \d+) \S+ \S+ \S+ (0x[0-9a-f]+)")  # m_show(): without its users


def event_of(rel: str) -> tuple[str, str]:
    """(system, name) of a path that ends in ``SYSTEM/NAME/format``."""
    system, name, _ = rel.split("/")[-3:]
    return system, name


def _same_module(line: bytes) -> bytes:
    m = _MODULE.match(line)
    return b" ".join(m.groups()) if m else line


def _keys(name: str, lines: list[bytes]) -> list[bytes]:
    """What of each of a table's lines tells it from others."""
    return [_same_module(line) for line in lines] if name == "modules" else lines


def _tells(name: str, line: bytes) -> bool:
    """Whether a line of a table says something."""
    if name == "saved_cmdlines":
        return bool(line) and not line.endswith(_NO_NAME)
    if name == "kallsyms":
        return bool(line) and not _NO_ADDRESS.match(line)
    return bool(line)


def _hidden(name: str, data: bytes) -> bool:
    """Whether a file has none of the addresses that it is saved for."""
    shown = _SHOWN.get(name)
    if shown is None or (name == "modules" and not data.strip()):  # no module is loaded
        return False
    return shown.search(data) is None


class Knowledge:
    """What the session knows of one boot, as it is brought up to date."""

    def __init__(self, root: Sysroot, writer: SessionWriter, boot: int, remarks: Remarks) -> None:
        self._root = root
        self._writer = writer
        self._boot = boot
        self._remarks = remarks

    @property
    def known(self) -> bool:
        """Whether the boot was saved before."""
        return self._boot in self._writer.manifest.boots

    def earlier(self, rel: str) -> bytes | None:
        """What was saved before of a file of this boot, None where nothing was."""
        return self._writer.read(f"boots/{self._boot}/{rel}") if self.known else None

    def _when(self) -> str:
        """What is known of the time of this save."""
        with suppress(SourceError):
            m = re.match(rb"(\d{1,12}\.\d+) ", self._root.get("proc/uptime") or b"")
            if m is not None:
                return f"at {m[1].decode()} s after the boot"
        return "at a later save"

    # -- tables -------------------------------------------------------------------------------

    def save(self, rel: str, data: bytes, *, compressed: bool = False) -> None:
        """Save a file; the lines of a table that it no longer has are kept as earlier ones."""
        name = rel.rpartition("/")[2]
        before = self.earlier(rel)
        if before is not None and _hidden(name, data) and not _hidden(name, before):
            message = "the kernel hides its addresses now; what was saved before is kept"
            self._remarks.add("addresses-hidden", "info", name, message)
            return
        self.keep(rel, data)
        self._writer.write(f"boots/{self._boot}/{rel}", data, compressed=compressed)

    def keep(self, rel: str, data: bytes, before: bytes | None = None) -> None:
        """Keep what a table said ``before`` (None: what was saved) and ``data`` no longer does."""
        name = rel.rpartition("/")[2]
        if name not in (*TABLES, "kallsyms", "modules"):
            return
        before = self.earlier(rel) if before is None else before
        if not before or before == data:
            return
        now, lines = set(_keys(name, data.split(b"\n"))), before.split(b"\n")
        keys = zip(lines, _keys(name, lines), strict=True)
        gone = [line for line, key in keys if key not in now and _tells(name, line)]
        if not gone:
            return
        target = earlier_file(self._boot, name)
        kept, left_out = add_lines(
            self._writer.read(target) or b"",
            gone,
            lambda line: _keys(name, [line])[0] in now,
            self._when(),
        )
        if left_out:
            message = f"{left_out} lines of long ago are no longer kept"
            self._remarks.add("earlier-cut", "info", f"earlier/{name}", message)
        self._writer.write(target, kept, compressed=name == "kallsyms")

    def modules_changed(self, modules: bytes) -> bool:
        """Whether other modules are loaded than when they were saved last."""
        before = self.earlier("modules")
        return before is None or {*map(_same_module, before.split(b"\n"))} != {
            *map(_same_module, modules.split(b"\n"))
        }

    # -- formats ------------------------------------------------------------------------------

    def saved_formats(self) -> list[str]:
        """The formats that were saved before, as ``events/SYSTEM/NAME/format``."""
        prefix = f"boots/{self._boot}/tracefs/"
        names = self._writer.names(f"{prefix}events/") if self.known else ()
        return [n.removeprefix(prefix) for n in names if n.endswith("/format")]

    def changed(self, formats: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those formats that the session does not have, or has otherwise."""
        prefix = f"boots/{self._boot}/tracefs/"
        return {n: data for n, data in formats.items() if self._writer.read(prefix + n) != data}

    def keep_formats(self, formats: Mapping[str, bytes], there: Collection[str]) -> set[str]:
        """Keep the saved formats that differ in ``formats`` or whose event is not ``there``.

        Names as of :meth:`saved_formats`. Returns those that are not there.
        """
        saved = self.saved_formats()
        gone = {name for name in saved if there and name not in there}
        replaced = self.changed({n: formats[n] for n in saved if n in formats})
        self._add_formats(
            EarlierFormat(*event_of(name), data.decode("utf-8", "backslashreplace"))
            for name in saved
            if name in gone or name in replaced
            if (data := self.earlier(f"tracefs/{name}")) is not None
        )
        return gone

    def _add_formats(self, gone: Iterable[EarlierFormat]) -> None:
        new = list(gone)
        if not new:
            return
        target = earlier_file(self._boot, FORMATS)
        data = self._writer.read(target)
        try:
            known = read_formats(data) if data is not None else []
        except ValueError:
            data, known = None, []
        if data is None and self._writer.has(target):  # damaged: kept, but not added to
            self._writer.move(target, f"boots/{self._boot}/other-copies/{FORMATS}")
        every = add_formats(known, new)
        if left_out := len({*new, *known}) - len(every):
            message = f"{left_out} formats of long ago are no longer kept"
            self._remarks.add("earlier-cut", "info", f"earlier/{FORMATS}", message)
        self._writer.write(target, write_formats(every))
