"""The critical chain of each blackout: what was waited for from the reboot call to user space.

The spine are the phases, each from one milestone to the next. In each the task that goes that way
is followed: the one that asked for the reboot (or panicked), and process 1 of the new kernel. The
dark part and whatever no event tells of are links of kind ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracekit.report.critical.calls import Calls, recorded_calls
from tracekit.report.critical.followed import Followed
from tracekit.report.critical.links import Chain, Evidence, Facts, Link
from tracekit.report.critical.tasks import Losses, Tasks
from tracekit.report.jump.observed import Jump, observed_jumps
from tracekit.report.phases import Phase
from tracekit.report.systemd import read_systemd
from tracekit.timeline.events import Events
from tracekit.timeline.started_by import started_by

__all__ = ["chain_to", "critical_chains"]

_SWITCH, _WAKING = "sched:sched_switch", "sched:sched_waking"


class _Boots:
    """What each kernel recorded of calls and tasks, read once: most are old and new in turn."""

    def __init__(self, facts: Facts, jumps: Sequence[Jump], lost: Losses) -> None:
        self.facts, self._lost = facts, lost
        self._initcalls = [call for jump in jumps for call in jump.handover.initcalls]
        self._known: dict[int, tuple[Calls, Tasks]] = {}

    def of(self, boot: int) -> tuple[Calls, Tasks]:
        """The calls and tasks of a boot."""
        if boot not in self._known:
            events = self.facts.events
            calls = recorded_calls(events, events.boot(boot), self._initcalls)
            self._known = {**dict(list(self._known.items())[-1:]),
                           boot: (calls, Tasks(events, boot, self._lost))}  # fmt: skip
        return self._known[boot]


class _Side:
    """One kernel of a jump: the task that the chain follows in it."""

    def __init__(self, boots: _Boots, boot: int, pid: int) -> None:
        self.boot, self.pid = boot, pid
        self.timed = boots.facts.events.axis.timed(boot)
        calls, tasks = boots.of(boot)
        self.followed = Followed(boots.facts, boot, calls, tasks)
        self.has_switches = tasks.recorded
        self.has_wakings = tasks.wakings_recorded


def _jumps(events: Events) -> Sequence[Jump]:
    systemd = {boot.index: read_systemd(boot) for boot in events.boots}
    starters = {boot.index: started_by(boot) for boot in events.boots}
    return observed_jumps(events, systemd, starters)


def critical_chains(events: Events, lost: Losses) -> tuple[Chain, ...]:
    """One for each jump of the session, in order; ``lost``: where events of a CPU are lost."""
    jumps = _jumps(events)
    boots = _Boots(Facts(events), jumps, lost)
    return tuple(_chain(boots, jump) for jump in jumps)


def chain_to(events: Events, lost: Losses, row: int, since_ns: int) -> Chain:
    """What the task of the event at ``row`` did and waited for up to it, from ``since_ns`` on.

    The chain begins where the boot's record does, if that is later, and has one link, with the
    others inside it. ``blackout_ns`` is None: there is none.
    """
    facts = Facts(events)
    boot, pid = int(events.rows.boot[row]), int(events.rows.pid[row])
    side = _Side(_Boots(facts, _jumps(events), lost), boot, pid)
    stamps = events.axis.ts_ns[events.rows.of_boot(boot)]
    start, end = max(since_ns, int(stamps.min())), int(events.axis.ts_ns[row])
    inside = side.followed.inside(pid, start, end) if side.timed and pid > 0 else ()
    what = f"{facts.task(boot, pid)} up to this event"
    link = Link("phase", what, boot, start, end - start, pid, facts.comm(boot, pid), (), inside)
    leaves = [one for one in link.leaves() if one is not link]
    known = sum(one.duration_ns or 0 for one in leaves if one.kind != "unknown")
    notes = [*_lacks(side), *_untimed(events, {boot})]
    if pid == 0:
        notes.append("it happened on an idle CPU: there is no task to follow")
    return Chain(boot, boot, None, _one(facts, row), 0, None, None, known, end - start - known,
                 (link,), tuple(notes))  # fmt: skip


def _pid(events: Events, row: int | None) -> int:
    return -1 if row is None else int(events.rows.pid[row])


def _chain(boots: _Boots, jump: Jump) -> Chain:
    facts, h = boots.facts, jump.handover
    events = facts.events
    leaves = h.down.marks.get(h.down.last, h.begun) if h.down.last else h.begun
    old = _Side(boots, h.old, _pid(events, leaves))
    new = _Side(boots, h.new, _pid(events, h.user))
    phases = [p for p in h.phases if p.in_blackout]
    links = tuple(_link(facts, jump, phase, old if phase.boot == h.old else new)
                  for phase in phases)  # fmt: skip
    took: tuple[int | None, int | None] = (None, None)
    if h.begun is not None and h.user is not None:
        took = events.axis.interval(events.rows, h.begun, h.user)
    leaf = [one for link in links for one in link.leaves() if one.duration_ns is not None]
    return Chain(
        h.old, h.new,
        _one(facts, h.begun), _one(facts, h.user),
        int(events.axis.ts_ns[h.last_old]) if h.last_old is not None else None, *took,
        sum(one.duration_ns or 0 for one in leaf if one.kind != "unknown"),
        sum(one.duration_ns or 0 for one in leaf if one.kind == "unknown"),
        links, tuple(_notes(events, jump, old, new)),
    )  # fmt: skip


def _one(facts: Facts, row: int | None) -> Evidence | None:
    return facts.evidence([row])[0] if row is not None else None


def _link(facts: Facts, jump: Jump, phase: Phase, side: _Side) -> Link:
    """A phase as a link, with what the task of its side did in it."""
    comm = facts.comm(phase.boot, side.pid) if side.pid >= 0 else None
    if not phase.observed:
        what = f"{phase.name}: not observed: {phase.note}"
        return Link("unknown", what, phase.boot, None, None, -1, None)
    told = facts.evidence(_bounds(facts.events, jump, phase))
    if phase.name.startswith("dark"):
        note = f"; {phase.note}" if phase.note else ""
        what = f"{phase.name}: nothing can record there{note}"
        return Link("unknown", what, phase.boot, phase.start_ns, phase.duration_ns, -1, None, told)
    inside: tuple[Link, ...] = ()
    if side.timed and phase.start_ns is not None and phase.duration_ns:
        end = phase.start_ns + phase.duration_ns
        inside = side.followed.inside(side.pid, phase.start_ns, end)
    return Link("phase", phase.name, phase.boot, phase.start_ns, phase.duration_ns, side.pid, comm,
                told, inside)  # fmt: skip


def _bounds(events: Events, jump: Jump, phase: Phase) -> list[int]:
    """The rows of the events at which a phase begins, and where it ends if no other begins then."""
    h, start = jump.handover, phase.start_ns
    if phase.name.startswith("dark"):
        ends = [h.last_old if phase.boot == h.old else None, h.first_new]
        if phase.name.endswith("runs"):  # up to the new kernel's time zero, which is no event
            ends = ends[:1]
        return [row for row in ends if row is not None]
    if phase.boot == h.old:
        marks = jump.leaving.marks
        along = [marks[name] for name, _ in h.down.way.along if name in marks]
        return [mark.row for mark in along if mark.ns == start][:1]
    codes = events.codes(h.new, "initcall:initcall_level", "initcall:initcall_finish")
    marked = events.rows.of_kinds(h.new, codes)
    at = marked[events.axis.ts_ns[marked] == start] if start is not None else marked[:0]
    user = [h.user] if phase.name == "first user process" and h.user is not None else []
    return [*at[:1].tolist(), *user]


def _notes(events: Events, jump: Jump, old: _Side, new: _Side) -> Iterator[str]:
    """What the record lacks for more links."""
    h = jump.handover
    if h.last_old is None:
        yield f"boot {h.old}: nothing of it was recorded"
    elif h.begun is None:
        begins = h.down.way.begin or "its way down"
        yield f"boot {h.old}: no event marks where the blackout begins ({begins})"
    if h.user is None:
        yield (f"boot {h.new}: no event marks the first user process: "
               "record sched:sched_process_exec")  # fmt: skip
    for side, recorded in ((old, h.last_old is not None), (new, h.first_new is not None)):
        yield from _lacks(side) if recorded else ()
    yield from _untimed(events, {h.old, h.new})


def _lacks(side: _Side) -> Iterator[str]:
    if not side.has_switches:
        yield f"boot {side.boot}: no {_SWITCH}: whether its task ran or waited is not known"
    elif not side.has_wakings:
        yield f"boot {side.boot}: no {_WAKING}: what ended a wait is not known"
    if side.followed.cut:
        yield f"boot {side.boot}: there are more switches than are followed"


def _untimed(events: Events, boots: Iterable[int]) -> Iterator[str]:
    for boot in boots:
        if not events.axis.timed(boot) and boot in events.axis.clocks:
            clock = events.axis.clocks[boot].trace_clock
            yield f"boot {boot}: its trace clock {clock} does not tell how long anything took"
