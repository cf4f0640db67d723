"""What a region that was carried here holds, and what has happened to it.

What a kernel does with a region that a ``trace_instance=NAME@REGION`` of its own names:
``ring_buffer_alloc_range()`` and ``rb_meta_validate_events()`` in ``kernel/trace/ring_buffer.c``,
``enable_instances()``, ``update_last_data()`` and ``tracing_set_clock()`` in
``kernel/trace/trace.c``; whether it finds it again: ``reserve_mem_kho_revive()`` in
``mm/memblock.c``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from tracekit.carriers.dumps.signatures import PSTORE
from tracekit.carriers.evidence import Previous, log_lines, quote
from tracekit.carriers.machine import mapped_instances
from tracekit.carriers.memory_use import Use
from tracekit.errors import Diagnostic, ParseError
from tracekit.frozen import dataclass, field
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.parameters import CommandLine, RegionSpec
from tracekit.spans import Span, overlaps

__all__ = ["Contents", "RegionFacts", "judge", "judge_file", "look_into", "nothing_recorded"]

_PAGE_HEADER = 16  # bytes of a sub-buffer before its events
_COMMIT = 0x3FFFFFFF  # of a sub-buffer's commit word: bytes of events in it
_NO_BUFFER = re.compile(r"[Rr]ing buffer .*meta.* mismatch of magic")
_NOT_REVIVED = re.compile(r"KHO reserve-mem '[^']*' has wrong|FDT 'memblock' (has no|is incomp)")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a region holds. ``used`` is CPU -> bytes of events.

    ``recorded``: a ring buffer with events; ``empty``: one without; ``blank``: zeros; ``unclear``:
    neither: damaged, or no trace data at all.
    """

    kind: Literal["recorded", "empty", "blank", "unclear"]
    used: Mapping[int, int] = field(default_factory=dict)


def look_into(data: bytes, unread: Sequence[Span] = ()) -> Contents:
    """Classify a region's bytes, those of ``unread`` not considered. Never raises."""
    try:
        layout = parse_layout(data, "region", unread=unread)
    except ParseError:
        return Contents("unclear" if unread or any(data) else "blank")
    view = memoryview(data)
    used = {
        cpu.cpu: sum(
            int.from_bytes(view[page + 8 : page + 12], "little") & _COMMIT
            for page in cpu.pages
            if not overlaps(unread, page, _PAGE_HEADER)
        )
        for cpu in layout.cpus
    }
    if any(used.values()):
        return Contents("recorded", used)
    return Contents("unclear" if unread else "empty", used)


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """A region that was copied, and what is known of it.

    ``owner`` is the boot that wrote it, ``here`` the running one. ``command`` and ``log`` are the
    running kernel's. ``previous`` is the boot whose recording the region was to hold, None where
    there is none or it is in the session already. ``use`` says who else uses it, ``kept`` what
    kept its memory: KHO, a vmcore, a file, or nothing that is known. ``older``: CPU -> sub-buffers
    of earlier kernels, where this one has recorded on after them.
    """

    spec: RegionSpec
    contents: Contents
    owner: int
    here: int
    command: CommandLine
    log: str
    previous: Previous | None
    use: Use = field(default_factory=lambda: Use("free"))
    kept: Literal["kho", "vmcore", "carve-out", "file", "nothing"] = "kho"
    older: Mapping[int, int] = field(default_factory=dict)

    @property
    def foreign(self) -> bool:
        """Whether it is somebody else's memory and no ring buffer is in it."""
        return self.use.foreign and self.contents.kind in ("unclear", "blank")

    @property
    def attached(self) -> str | None:
        """The instance of this kernel that is on the region, None where none is."""
        instance = self.command.instance_of(self.spec.name, self.spec.address)
        if instance is None or self.kept in ("vmcore", "file"):  # the old memory is left alone
            return None
        mapped = mapped_instances(self.log).get(instance.name)
        elsewhere = mapped is not None and mapped[0] != self.spec.address
        return None if elsewhere else instance.name

    @property
    def recorder(self) -> str | None:
        """The instance with which an earlier kernel recorded into it, as far as is known."""
        if self.previous is None:
            return None
        instance = self.previous.command.instance_of(self.spec.name, self.spec.address)
        return instance.name if instance else None

    @property
    def holds_recording(self) -> bool:
        """Whether there is, or may be, something of an earlier kernel in it."""
        worth = self.contents.kind == "recorded" or (
            # what firmware and kernels leave in a half that nobody recorded into is no recording
            self.contents.kind == "unclear"
            and (self.kept != "carve-out" or self.recorder is not None)
        )
        return self.owner != self.here and worth and not self.foreign


def _cpus(numbers: Sequence[int]) -> str:
    return f"CPU{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:16]))}"


def _written(facts: RegionFacts, cpus: Sequence[int]) -> str:
    """How many events those CPUs had when the snapshot was taken, in words."""
    if facts.previous is None or facts.recorder is None:
        return ""
    known = [facts.previous.entries.get((facts.recorder, cpu)) for cpu in cpus]
    count = sum(n for n in known if n is not None)
    return f"; the snapshot had counted {count} events there" if count else ""


def _recorded_on(facts: RegionFacts, why: str, next_time: str) -> Diagnostic:
    """The running kernel recorded on after an earlier one's events."""
    kept = sorted(facts.older)
    gone = [
        cpu for cpu in sorted(facts.contents.used)
        if cpu not in facts.older and _written(facts, [cpu])
    ]  # fmt: skip
    message = (
        f"{why} and recorded on after its events. Those of {_cpus(kept)} are there, but for the "
        "sub-buffer that was being written, where this kernel's first record lies"
    )
    if gone:
        message += (
            f"; {_cpus(gone)} has none left{_written(facts, gone)}: the kernel resets the buffers "
            "of the CPUs that are online when it enables events"
        )
    severity: Literal["error", "warning"] = "error" if gone else "warning"
    where = f"region {facts.spec.name}"
    return Diagnostic("region-recorded-on", severity, where, f"{message}. Next time {next_time}")


def _reattached(facts: RegionFacts) -> Diagnostic | None:
    """What happened where this kernel's own instance is on an earlier kernel's region."""
    parameter = f"trace_instance={facts.attached}@{facts.spec.name}"
    why = (
        f"this kernel attached its own trace instance to the region the old one recorded in "
        f"({parameter} on its command line)"
    )
    next_time = "give the new kernel the other region, as 'tracekit handover' does"
    used = facts.contents.used
    if facts.older:
        return _recorded_on(facts, why, next_time)

    def error(code: str, message: str) -> Diagnostic:
        return Diagnostic(code, "error", f"region {facts.spec.name}", message)

    if facts.owner == facts.here and facts.contents.kind == "recorded":
        return error(
            "region-rewritten",
            f"{why} and has recorded over it: the address of _text in its header is this "
            f"kernel's{_written(facts, sorted(used))}. Next time {next_time}",
        )
    if facts.contents.kind in ("empty", "blank"):
        if cleared := _cleared(facts):
            return error("region-cleared", cleared)
        return error(
            "region-wiped",
            f"{why} and cleared it: no CPU has an event left{_written(facts, sorted(used))}. "
            f"Next time {next_time}",
        )
    gone = [cpu for cpu in sorted(used) if not used[cpu]]
    if gone:
        left = ", ".join(f"CPU {cpu}: {n} bytes" for cpu, n in sorted(used.items()) if n)
        return error(
            "region-cpus-wiped",
            f"{why}; {_cpus(gone)} has no event left{_written(facts, gone)}, and left are {left}. "
            "Restoring a trace clock other than 'local' resets the CPUs that are online then, "
            f"which is CPU 0. Next time {next_time}",
        )
    return None


def _cleared(facts: RegionFacts) -> str:
    """That a carve-out did not come through the reboot, in words; '' where nothing shows that.

    A kernel that attaches it again makes an empty ring buffer of it, and says why in its log
    (``rb_meta_valid()`` and its like in ``kernel/trace/ring_buffer.c``).
    """
    if facts.kept != "carve-out":
        return ""
    lines = log_lines(facts.log, _NO_BUFFER) if facts.attached else []
    if facts.contents.kind != "blank" and not lines:
        return ""
    shown = f"this kernel found no ring buffer there ({quote(lines)})" if lines else "it is zeros"
    return (
        f"the memory was cleared by the firmware, or its power was lost: {shown}"
        f"{_written(facts, sorted({cpu for _, cpu in _counted(facts)}))}. A kexec and a panic into "
        "a crash kernel keep it; whether a reboot does is up to the firmware (fast boot, no memory "
        "test), and 'reboot=warm' may help"
    )


def _counted(facts: RegionFacts) -> list[tuple[str, int]]:
    """The (instance, CPU) whose events the snapshot had counted."""
    return list(facts.previous.entries) if facts.previous else []


def judge(facts: RegionFacts) -> list[Diagnostic]:
    """Remarks on what happened to a region that was to hold a recording; none if all is well."""
    where = f"region {facts.spec.name}"
    if facts.foreign:
        advice = f": {PSTORE}" if facts.use.kind == "ramoops" else ""
        message = f"it is used by {facts.use.who}, and is no trace; saved as it is{advice}"
        return [Diagnostic("region-of-others", "info", where, message)]
    remarks: list[Diagnostic] = []
    if facts.recorder is not None and facts.attached is not None:
        happened = _reattached(facts)
        if happened is not None:
            remarks.append(happened)
    elif facts.recorder is not None and (cleared := _cleared(facts)):
        remarks.append(Diagnostic("region-cleared", "error", where, cleared))
    elif facts.recorder is not None and facts.contents.kind in ("empty", "blank"):
        remarks.append(
            Diagnostic(
                "region-empty",
                "warning",
                where,
                f"the old kernel ({facts.previous.name if facts.previous else ''}) had its "
                f"instance {facts.recorder} on the region, but no event is in it: was it "
                "recording (tracing_on, events)? 'tracekit record' sees to both",
            )
        )
    if (
        facts.recorder is not None
        and facts.kept == "carve-out"
        and facts.contents.kind == "unclear"
    ):
        message = (
            "what begins it is no ring buffer any more: it has been written over since the old "
            "kernel left it, by firmware, a boot loader or a kernel without memmap=. What is left "
            "is saved, and decoded as far as it makes sense. Next time set another address aside: "
            "tracekit setup --carrier carveout --address ADDRESS"
        )
        remarks.append(Diagnostic("region-overwritten", "error", where, message))
    if facts.owner != facts.here and facts.kept == "nothing":
        remarks.append(
            Diagnostic(
                "region-not-kept",
                "warning",
                where,
                "KHO did not carry it here: nothing that is known has kept its memory from being "
                "written to since the jump",
            )
        )
    elif facts.owner != facts.here and facts.kept == "kho" and not _reserved_alike(facts):
        lines = log_lines(facts.log, _NOT_REVIVED)
        remarks.append(
            Diagnostic(
                "region-not-reserved",
                "info" if facts.contents.kind in ("empty", "blank") else "warning",
                where,
                "this kernel's command line does not reserve it as the old one's did"
                + (f" (its log says {quote(lines)})" if lines else "")
                + ". KHO kept it all the same, but this kernel will not hand it on: keep "
                "reserve_mem= with the same name, size and alignment on every command line",
            )
        )
    return remarks


def judge_file(name: str, origin: str, data: bytes | None) -> list[Diagnostic]:
    """A remark on a region out of a file that holds no event; none if it holds some."""
    contents = look_into(data or b"")
    held = {
        "empty": "a ring buffer without an event",
        "blank": "nothing but zeros",
        "unclear": "no ring buffer at its begin. Is the offset right, and the size? It begins with "
        + (data or b"")[:8].hex(" "),
    }
    if contents.kind == "recorded":
        return []
    message = f"{origin}: holds {held[contents.kind]}"
    return [Diagnostic("region-without-events", "warning", f"region {name}", message)]


def _reserved_alike(facts: RegionFacts) -> bool:
    """Whether this kernel's command line has the ``reserve_mem`` that finds the region again."""
    spec = facts.spec
    same = (m for m in facts.command.reserve_mem if (m.name, m.size) == (spec.name, spec.size))
    return any(not m.align or spec.address % m.align == 0 for m in same)


def nothing_recorded(
    facts: Sequence[RegionFacts],
    judged: Sequence[Diagnostic],
    unreadable: Sequence[Diagnostic] = (),
) -> str:
    """Why regions were found and yet hold nothing, in words.

    ``unreadable`` are the remarks on regions that could not be read: a recording may be in them.
    """
    held = {
        "recorded": "only this kernel's own events",
        "empty": "a ring buffer without an event",
        "blank": "nothing but zeros",
        "unclear": "no ring buffer of an earlier kernel",
    }
    regions = "; ".join(
        f"{f.spec.name} ({f.spec.address:#x}, {f.spec.size} bytes) "
        + (f"is used by {f.use.who}" if f.foreign else f"holds {held[f.contents.kind]}")
        for f in facts
    )
    raw = " ".join(f"--region {f.spec.name}@{f.spec.address:#x}:{f.spec.size:#x}" for f in facts)
    keep = f". To save the memory as it is all the same: {raw}"
    why = "".join(f". {d.where}: {d.message}" for d in judged if d.severity != "info")
    carriers = {fact.kept for fact in facts}
    begin = {
        "vmcore": "/proc/vmcore has the regions",
        "kho": "KHO carried regions",
        "carve-out": "/dev/mem has the carve-out",
    }.get(facts[0].kept if len(carriers) == 1 else "", "regions came")
    if unreadable:
        unread = "; ".join(f"{d.where}: {d.message}" for d in unreadable)
        return (
            f"{begin}, but some could not be read: {unread}. The others hold no recording: "
            f"{regions}{why}{keep}"
        )
    hint = (
        ". Was the old kernel recording? It needs trace_instance=NAME^traceoff@REGION on its "
        "command line, and 'tracekit record' to arm it ('tracekit doctor' checks)"
    )
    return f"{begin}, but no recording is in them: {regions}{why or hint}{keep}"
