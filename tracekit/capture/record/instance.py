"""The trace instance on a preserved region: setting up what it records, and restoring it.

The only module that writes to tracefs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from tracekit.carriers.carve_out import covering
from tracekit.carriers.memory_use import read_memory
from tracekit.errors import SourceError, UsageError
from tracekit.frozen import dataclass
from tracekit.parameters import CommandLine, TraceInstance, parse_cmdline
from tracekit.probes.kprobes import GROUP
from tracekit.sysroot import TRACEFS, Sysroot, find_tracefs

__all__ = [
    "PRESETS",
    "Instance",
    "InstanceState",
    "Stats",
    "find_instance",
    "globs",
    "running_command",
]

_HANDOVER = (
    "syscalls:sys_enter_reboot",
    "syscalls:sys_*_kexec_file_load",
    "syscalls:sys_*_kexec_load",
    "sched:sched_switch",
    "sched:sched_process_*",
    "sched:sched_kthread_*",
    "irq:irq_handler_*",
    "printk:console",
    "notifier:*",
    "cpuhp:*",
    "rpm:*",
    "module:*",
    "signal:signal_generate",
)
#: Presets for ``--events``; anything else is a glob of ``SYSTEM:NAME``.
PRESETS = {
    "handover": _HANDOVER,
    "scheduling": (*_HANDOVER, "sched:*", "irq:*", "timer:*", "workqueue:*", "power:*"),
    "everything": ("*:*",),
}

_EVENT = re.compile(r"[\w*?\[\]!-]+(:[\w*?\[\]!-]+)?")
_WILD = re.compile(r"[*?\[]")
_CHOSEN = re.compile(r"\[([^\s\[\]]+)\]")
_ADDRESS = re.compile(r"([0-9a-f]{1,16})\s")
_DELTA = re.compile(r"^text delta:\s*(-?[0-9]{1,20})$", re.M)
_NUMBER = re.compile(r"[0-9]{1,9}")
_SIZE = "saved_cmdlines_size"
_MOST_TASKS = (1 << 15, 1 << 12)  # PID_MAX_DEFAULT; the second with CONFIG_BASE_SMALL
_STAT = re.compile(r"^(entries|overrun|commit overrun|dropped events): (\d{1,18})$", re.M)


@dataclass(frozen=True, slots=True)
class InstanceState:
    """The settings that are restored when a recording ends."""

    tracing_on: str
    clock: str
    events: tuple[str, ...]
    saved_cmdlines_size: str = ""  # of all of tracefs; '' where the kernel has no such file


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of events, over all CPUs: still in the buffer, overwritten, and never written."""

    entries: int = 0
    overrun: int = 0
    dropped: int = 0

    @property
    def written(self) -> int:
        """Events written to the buffer, including those overwritten since."""
        return self.entries + self.overrun


def globs(names: Sequence[str]) -> tuple[str, ...]:
    """Expand presets and globs to event globs; raises UsageError for what is neither."""
    chosen: dict[str, None] = {}
    for name in names:
        for glob in PRESETS.get(name, (name,)):
            if not _EVENT.fullmatch(glob):
                raise UsageError(
                    f"--events {name!r}: neither a preset ({', '.join(PRESETS)}) nor a glob of "
                    "events such as 'sched:*' or 'irq:irq_handler_entry'"
                )
            chosen[glob] = None
    return tuple(chosen)


class Instance:
    """One ``instances/NAME`` of the live tracefs."""

    def __init__(self, root: Sysroot, tracefs: str, name: str) -> None:
        self.root = root
        self.name = name
        self.tracefs = tracefs
        self.path = f"{tracefs}/instances/{name}"

    # -- files --------------------------------------------------------------------------------

    def read(self, rel: str) -> str:
        """A file of the instance, '' where this kernel has none."""
        data = self.root.get(f"{self.path}/{rel}")
        return (data or b"").decode("utf-8", "backslashreplace")

    def _write(self, path: str, text: str, flags: int) -> None:
        where = self.root.where(path)
        try:
            fd = os.open(where, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags)
            try:
                if text:
                    os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise SourceError(
                f"{where}: cannot write {text!r}: {error.strerror}: see the end of "
                f"{self.root.where(self.tracefs)}/error_log and dmesg"
            ) from error

    def write(self, rel: str, text: str) -> None:
        """Write to a file of the instance; raises :class:`~tracekit.errors.SourceError`."""
        self._write(f"{self.path}/{rel}", text, 0)

    # -- its state ----------------------------------------------------------------------------

    @property
    def clock(self) -> str:
        """The chosen trace clock."""
        chosen = _CHOSEN.search(self.read("trace_clock"))
        return chosen[1] if chosen else "local"

    @property
    def clocks(self) -> tuple[str, ...]:
        """The trace clocks to choose from."""
        return tuple(self.read("trace_clock").replace("[", "").replace("]", "").split())

    def stats(self) -> Stats:
        """The sums over ``per_cpu/cpuN/stats``."""
        sums: dict[str, int] = {}
        for rel in self.root.glob(f"{self.path}/per_cpu/cpu[0-9]*/stats"):
            for name, count in _STAT.findall((self.root.get(rel) or b"").decode()):
                sums[name] = sums.get(name, 0) + int(count)
        dropped = sums.get("dropped events", 0) + sums.get("commit overrun", 0)
        return Stats(sums.get("entries", 0), sums.get("overrun", 0), dropped)

    def earlier_boot(self) -> str | None:
        """Address of ``_text`` (hex) in the earlier boot whose record is in the buffer, or None.

        ``last_boot_info`` says ``# Current`` once the buffer holds this boot's events
        (``show_last_boot_header()`` in ``kernel/trace/trace.c``).
        """
        address = _ADDRESS.match(self.read("last_boot_info"))
        holds = address and address[1].strip("0") and self.stats().entries > 0
        return address[1] if address and holds else None

    def moved(self) -> bool:
        """Whether 6.12 to 6.14 show that what is in the buffer is another kernel's.

        They have no address, but how far ``_text`` has moved since (``tracing_last_boot_read()`` in
        ``kernel/trace/trace.c``); without KASLR that is 0 and tells nothing.
        """
        delta = _DELTA.search(self.read("last_boot_info"))
        return bool(delta and int(delta[1]) and self.stats().entries > 0)

    # -- recording ----------------------------------------------------------------------------

    def state(self) -> InstanceState:
        """The settings as they are now, for :meth:`restore`."""
        events = tuple(line for line in self.read("set_event").split() if ":" in line)
        size = self._cmdlines_size()
        return InstanceState(self.read("tracing_on").strip() or "0", self.clock, events, size)

    def _cmdlines_size(self) -> str:
        size = (self.root.get(f"{self.tracefs}/{_SIZE}") or b"").decode("ascii", "replace").strip()
        return size if _NUMBER.fullmatch(size) else ""

    def _write_cmdlines_size(self, size: int) -> None:
        self._write(f"{self.tracefs}/{_SIZE}", str(size), 0)

    def remember_tasks(self) -> bytes:
        """Have the kernel remember the names of as many tasks as it can.

        Returns ``saved_cmdlines`` as it was before: changing the size empties it
        (``tracing_resize_saved_cmdlines()``).
        """
        size = self._cmdlines_size()
        names = self.root.get(f"{self.tracefs}/saved_cmdlines") or b""
        for most in _MOST_TASKS if size else ():
            if int(size) >= most:
                break
            try:
                self._write_cmdlines_size(most)
            except SourceError:
                continue  # more than this kernel's PID_MAX_DEFAULT, or than it has memory for
            break
        return names

    def enable(self, wanted: Iterable[str]) -> list[str]:
        """Enable events by glob of ``SYSTEM:NAME``; returns the globs that no event matches.

        The only globs left to the kernel are ``SYSTEM:*`` and ``*:*``; others are expanded here.
        """
        missing = []
        for glob in wanted:
            whole = glob == "*:*" or (glob.endswith(":*") and not _WILD.search(glob[:-2]))
            names = [glob] if whole or not _WILD.search(glob) else self._events_like(glob)
            if not [name for name in names if self._enabled(name)]:
                missing.append(glob)
        return missing

    def _events_like(self, glob: str) -> list[str]:
        """The events that match a glob of ``SYSTEM:NAME`` (or of ``NAME``)."""
        paths = self.root.glob(f"{self.path}/events/*/*/enable")
        names = (":".join(path.split("/")[-3:-1]) for path in paths)
        return [n for n in names if fnmatchcase(n if ":" in glob else n.partition(":")[2], glob)]

    def _enabled(self, name: str) -> bool:
        """Enable one event or system; False when the kernel does not have it."""
        try:
            self.write("set_event", name)
        except SourceError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.EINVAL, errno.ENOENT):
                return False
            raise
        return True

    def disable_all(self) -> None:
        """Disable every event of the instance."""
        self._write(f"{self.path}/set_event", "", os.O_TRUNC)

    def clear(self) -> None:
        """Empty the buffer, including what an earlier boot left in it."""
        self._write(f"{self.path}/trace", "", os.O_TRUNC)

    def restore(self, state: InstanceState) -> None:
        """Stop recording and restore the events; the record stays in the buffer.

        The names of tasks that the kernel remembers are gone where their number was raised.
        The clock is restored only when the buffer is empty: changing it wipes the buffer
        (``tracing_set_clock()``).
        """
        self.write("tracing_on", "0")
        self.disable_all()
        self.enable(state.events)
        if self.clock != state.clock and self.stats().entries == 0:
            self.write("trace_clock", state.clock)
        if state.saved_cmdlines_size not in ("", self._cmdlines_size()):
            # read, it may say more than may be written: the memory is rounded up
            self._write_cmdlines_size(min(int(state.saved_cmdlines_size), _MOST_TASKS[0]))
        if state.tracing_on == "1":
            self.write("tracing_on", "1")

    # -- kprobe events ------------------------------------------------------------------------

    def add_kprobes(self, lines: Iterable[str]) -> list[tuple[str, str]]:
        """Define kprobe events; returns (line, why) of those the kernel refused."""
        refused = []
        for line in lines:
            try:
                self._write(f"{self.tracefs}/kprobe_events", line, os.O_APPEND)
            except SourceError as error:
                refused.append((line, str(error.__cause__)))
        return refused

    def filter_kprobe(self, event: str, wanted: str) -> str:
        """Set the filter of one of tracekit's kprobe events in this instance.

        Returns '', or why the kernel refused it; then the event is removed.
        """
        try:
            self.write(f"events/{GROUP}/{event}/filter", wanted)
        except SourceError as error:
            self._write(f"{self.tracefs}/kprobe_events", f"-:{GROUP}/{event}", os.O_APPEND)
            return f"its filter {wanted!r}: {error.__cause__}"
        return ""

    def remove_kprobes(self) -> int:
        """Disable and remove all kprobe events of tracekit; returns how many there were."""
        if not self.root.exists(f"{self.tracefs}/events/{GROUP}"):
            return 0
        for place in [self.tracefs, *self.root.glob(f"{self.tracefs}/instances/*")]:
            with contextlib.suppress(SourceError):
                self._write(f"{place}/events/{GROUP}/enable", "0", 0)
        names = list(_kprobes(self.root, self.tracefs))
        for name in names:
            self._write(f"{self.tracefs}/kprobe_events", f"-:{name}", os.O_APPEND)
        return len(names)


def _kprobes(root: Sysroot, tracefs: str) -> Iterator[str]:
    """``group/event`` of every kprobe event of tracekit."""
    for line in (root.get(f"{tracefs}/kprobe_events") or b"").decode().splitlines():
        name = line.partition(" ")[0].partition(":")[2]
        if name.startswith(f"{GROUP}/"):
            yield name


def running_command(root: Sysroot) -> CommandLine:
    """The command line of the running kernel."""
    return parse_cmdline((root.get("proc/cmdline") or b"").decode("utf-8", "replace"))


def _check_alone(root: Sysroot, instance: TraceInstance) -> None:
    """Raise SourceError where somebody else writes to the instance's memory too."""
    place = instance.region or f"{instance.address:#x}"
    use = read_memory(root).use_of(place, instance.address, instance.size or 0)
    others = [other for other in use.instances if other != instance.name]
    if use.foreign or others:
        raise SourceError(
            f"the trace instance {instance.name} lies on {place}, which is used by {use.who}: "
            "both would write to it. Give the instance a region of its own ('tracekit setup' shows "
            "how)"
        )
    if instance.address is None:
        return
    names = covering((root.get("proc/iomem") or b"").decode(), instance.address, instance.size or 0)
    if wrong := [name for name in names if name != "Reserved"]:
        raise SourceError(
            f"the trace instance {instance.name} lies on {place}, which /proc/iomem calls "
            f"{', '.join(wrong)}: nothing keeps it, and recording would overwrite what lies there. "
            "Was memmap= lost on the command line? 'tracekit setup --carrier carveout' writes it"
        )


def find_instance(root: Sysroot, wanted: str | None = None) -> Instance:
    """The instance to record in: the one named, else the one the command line puts on a region.

    Raises :class:`~tracekit.errors.SourceError`, which says what to do, where there is none.
    """
    tracefs = find_tracefs(root)
    if tracefs is None:
        raise SourceError(
            f"{root.where(TRACEFS[0])}: no tracefs there: mount it with "
            "'mount -t tracefs nodev /sys/kernel/tracing'"
        )
    command = running_command(root)
    preserved = [i.name for i in command.instances if i.region is not None or i.address]
    name = wanted or next(iter(preserved), None)
    if name is None:
        raise SourceError(
            "no trace instance lies in memory that survives a kexec: this kernel's command line "
            "has no trace_instance=NAME@REGION or @ADDRESS:SIZE: 'tracekit setup' prints what to "
            "add, "
            "'tracekit doctor' checks the rest"
        )
    if "/" in name or not root.exists(f"{tracefs}/instances/{name}"):
        there = ", ".join(root.names(f"{tracefs}/instances")) or "none"
        raise SourceError(
            f"{root.where(tracefs)}/instances/{name}: no such trace instance (there: {there}): "
            "did the kernel refuse its region? see 'dmesg | grep -i -e trac -e reserve'"
        )
    if name not in preserved:
        raise UsageError(
            f"--instance {name}: it does not lie in a reserved region, so its record would not "
            f"survive the kexec; {', '.join(preserved) or 'no instance'} does"
        )
    _check_alone(root, next(i for i in command.instances if i.name == name))
    return Instance(root, tracefs, name)
