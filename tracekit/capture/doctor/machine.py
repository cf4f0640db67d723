"""The machine that the doctor's checks examine, and the result of a check.

A check is a function of :class:`Machine`, which reads kernel files below a root: the live
machine's or a saved tree's. What only the user root could see has the state ``unknown``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from tracekit.capture.cmdline.memory_use import Memory, carried_regions, read_memory
from tracekit.capture.cmdline.parse import CommandLine, RegionSpec, TraceInstance, parse_cmdline
from tracekit.capture.recover.evidence import crash_kernel
from tracekit.capture.save.kernel import config_text
from tracekit.errors import SourceError
from tracekit.sysroot import KHO_ROOTS, Sysroot, find_tracefs

__all__ = ["Check", "Machine", "State"]

State = Literal["ok", "warning", "failed", "unknown"]

_RELEASE = re.compile(r"Linux version (\S+)")
_OPTION = re.compile(r"^CONFIG_(\w+)=(.*)$", re.M)


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition: what was found, and what to do about it ('' where there is nothing)."""

    id: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: keys ``id``, ``state``, ``found``, ``do``."""
        return {"id": self.id, "state": self.state, "found": self.found, "do": self.remedy}


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
    def config(self) -> dict[str, str] | None:
        """The options that are set (``KEXEC_FILE`` -> ``y``), None when they are not known."""
        text = config_text(self.get("proc/config.gz") or b"")
        if not text and self.release:
            text = self.text(f"boot/config-{self.release}")
        return dict(_OPTION.findall(text)) or None

    @cached_property
    def log(self) -> str:
        """The kernel's log, '' when it cannot be read."""
        try:
            return (self.root.kernel_log() or b"").decode("utf-8", "backslashreplace")
        except SourceError:
            return ""

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
