"""The way down in words: what is known of it, and from where."""

from __future__ import annotations

import re

from tracekit.frozen import dataclass
from tracekit.report.milestones import PANICKED, find_marks
from tracekit.report.panic import panicked
from tracekit.report.unfinished import CpuUnfinished, unfinished
from tracekit.report.ways import KEXEC, NOT_SEEN, Down, way_down
from tracekit.session.identity import identity
from tracekit.session.regions import region_reader
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import StartedBy

__all__ = ["EndingReport", "WayReport", "ending", "way_report"]

_CONSOLE = "printk:console"
_REASON = re.compile(rf"^(?:\[[^\]\n]*\] *)*{PANICKED}(?:: (.*))?$", re.M)
#: What firmware told of the reset before: print_s5_reset_status_mmio(), arch/x86/kernel/cpu/amd.c.
_TOLD = re.compile(r"Previous system reset reason .*")
#: What a kernel prints that will not go on: watchdog_timer_fn(), watchdog_hardlockup_check(),
#: check_hung_task(), print_cpu_stall(), and what die() and its kin print.
_ALARM = re.compile(
    r".*(BUG: |Oops|general protection fault|hard LOCKUP|blocked for more than|stalls? on CPU"
    r"|self-detected stall|detected stalls).*"
)
_BEGIN = {"panic": "panic", "emergency restart": "emergency restart"}


@dataclass(frozen=True, slots=True)
class WayReport:
    """How the old kernel went down.

    ``name``: kexec, reboot, power off, halt, panic, emergency restart, shutdown (what for is not
    known) or "not seen". ``left``: it was recorded up to the last function of that way; ``last``
    is the last one that was seen. ``reason`` is that of a panic. ``started_by``: how the next one
    came up (kexec, crash kernel, boot loader, unknown). ``begin`` is where its user space ended,
    ``text`` all of this in words.
    """

    name: str
    left: bool
    last: str
    reason: str
    started_by: str
    begin: str
    text: str

    @property
    def usual(self) -> bool:
        """Whether it went as it should: a way that was seen to its end, and no panic."""
        return self.left and self.name != "panic"


@dataclass(frozen=True, slots=True)
class EndingReport:
    """How the record of the last boot ends, which others read: as of a handover's old kernel."""

    boot: int
    way: WayReport
    unfinished: tuple[CpuUnfinished, ...]


def _last_printed(events: Events, boot: int, wanted: re.Pattern[str]) -> re.Match[str] | None:
    """The last line that the kernel printed into the record and that matches from its begin."""
    rows = events.rows.of_kinds(boot, events.codes(boot, _CONSOLE))
    found: tuple[int, re.Match[str]] | None = None
    for part, values in events.values(rows, "msg"):
        for at, text in zip(part.tolist(), values.to_pylist(), strict=True):
            match = wanted.match(text.rstrip("\n")) if isinstance(text, str) else None
            if match and (found is None or at > found[0]):
                found = at, match
    return found[1] if found else None


def _reason(events: Events, boot: Boot) -> str:
    printed = _last_printed(events, boot.index, _REASON)
    if printed is not None:
        return (printed[1] or "").strip()
    logged = [match[1] or "" for match in _REASON.finditer(boot.text("dmesg"))]
    return logged[-1].strip() if logged else ""


def _came_up(starter: StartedBy) -> str:
    words = {
        "kexec": "the next kernel was started by kexec",
        "crash kernel": "the next kernel is a crash kernel",
        "boot loader": "the next kernel was started by firmware",
    }
    return f"{words[starter.kind]} ({starter.evidence})" if starter.kind in words else ""


def _not_seen(recorded: bool, starter: StartedBy | None, told: str) -> str:
    begin = "the old kernel was never seen to go down" if recorded else "nothing of it was recorded"
    if starter is None:
        begin, came = "it was never seen to go down", "no kernel after it is in the session"
    else:
        came = _came_up(starter) or "how the next kernel came up is not known"
    if starter is not None and starter.kind == "boot loader":
        came += ": power loss, a reset, a watchdog, or a way down that was not recorded"
    return "; ".join(part for part in (begin, came, told) if part)


def _contradicted(down: Down, starter: StartedBy) -> str:
    """What does not fit between the way down and the way up, in words."""
    if down.way is KEXEC and down.left and starter.kind in ("boot loader", "crash kernel"):
        return f"but {_came_up(starter)}: the one that kexec started left no record here"
    if down.recorded and down.way.name != "panic" and starter.kind == "crash kernel":
        return f"but {_came_up(starter)}: a panic on the way"
    if down.way.name not in ("kexec", "panic", "shutdown") and starter.kind == "kexec":
        return f"but {_came_up(starter)}: others ran in between"
    return ""


def ending(events: Events) -> EndingReport | None:
    """How the record of the last boot ends; None where that boot read its regions itself."""
    boot = events.boots[-1] if events.boots else None
    if boot is None or not events.rows.count(boot.index):
        return None
    if panicked(boot):
        return _panic_alone(events, boot)
    own = {identity(boot.kernel), ""}
    listed = boot.session.list(f"boots/{boot.index}/regions/")
    paths = [path for path in listed if path.endswith(".raw")]
    if all(region_reader(boot.session, path) in own for path in paths):
        return None
    down = way_down(find_marks(events, boot), StartedBy())
    way = way_report(events, boot.index, down, StartedBy(), recorded=True)
    return EndingReport(boot.index, way, () if way.usual else unfinished(events, boot, down))


def _panic_alone(events: Events, boot: Boot) -> EndingReport:
    """A boot that panicked, and whose memory was read by another machine or kernel."""
    down = way_down(find_marks(events, boot), StartedBy("crash kernel"))
    told = StartedBy(evidence="its memory, read afterwards, tells of it")
    way = way_report(events, boot.index, down, told, recorded=True)
    return EndingReport(boot.index, way, unfinished(events, boot, down))


def way_report(
    events: Events, boot: int, down: Down, starter: StartedBy, *, recorded: bool
) -> WayReport:
    """What is known of how ``boot`` went down; ``recorded``: whether it has any event."""
    old, name = events.boot(boot), down.way.name
    reason = _reason(events, old) if name == "panic" else ""
    after = next((b for b in events.boots if b.index > boot), None)
    told = _TOLD.search(after.text("dmesg")) if after is not None and not down.left else None
    alarm = None if down.left or name == "panic" else _last_printed(events, boot, _ALARM)
    said = "; ".join(
        text
        for text in (
            f"it had printed '{alarm[0].strip()}'" if alarm else "",
            f"the next kernel's log says '{told[0]}'" if told else "",
        )
        if text
    )
    if down.way is NOT_SEEN:
        text = _not_seen(recorded, starter if after else None, said)
    elif not down.recorded:
        head = f"{name}: {reason}" if reason else name
        tells = _came_up(starter) or starter.evidence
        text = f"{head}; nothing in the record marks it, but {tells}"
    else:
        head = f"{name}: {reason}" if reason else name
        how = "recorded up to" if down.left else "not seen to its end: the last step recorded is"
        if down.last:
            head += f"{'; ' if reason else ', '}{how} {down.last}"
        parts = ["", head, _contradicted(down, starter)]
        if (name == "panic" or not down.left) and not parts[2]:
            parts[2] = _came_up(starter)
        text = "; ".join(part for part in (*parts, said) if part)
    return WayReport(
        name, down.left, down.last, reason, starter.kind, _BEGIN.get(name, "reboot call"), text
    )
