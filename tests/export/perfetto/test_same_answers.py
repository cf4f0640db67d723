"""What tracekit derives of a session, beside what Perfetto derives of its trace, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.perfetto.processor import missing, query
from tracekit.cli import main
from tracekit.recording import Recording

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing()),
              pytest.mark.xdist_group("same-answers")]  # fmt: skip
STATES = """select state, tid, ts, dur from thread_state join thread using (utid)
    where tid > 0 and dur >= 0"""
SLICES = """select type, slice.name, dur from slice join track on track_id = track.id
    where type in ('cpu_irq', 'cpu_softirq', 'cpu_hrtimer')"""
FIRST = "select min(ts) from ftrace_event"
NEW = """select tid, min(ts) from thread_state join thread using (utid) where tid in
    (select extract_arg(arg_set_id, 'pid') from ftrace_event where name = 'sched_wakeup_new')
    group by 1"""
BY_LETTER = {
    "Running": "running", "R": "runnable", "R+": "preempted", "S": "sleeping",
    "D": "uninterruptible", "I": "idle",
}  # fmt: skip
Stays = Counter[tuple[int, int, int]]  # of (pid, start on our axis, ns)


@pytest.fixture(scope="module")
def ours(session: Callable[[str], Path]) -> Recording:
    return tracekit.open(session("same-boot-wide-7.2"))


@pytest.fixture(scope="module")
def trace(session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("same") / "x.pftrace"
    path = str(session("same-boot-wide-7.2"))
    assert main(["-q", "export", path, "--format", "perfetto", "-o", str(where)]) == 0
    return where


@pytest.fixture(scope="module")
def stays(ours: Recording, trace: Path) -> dict[str, tuple[Stays, Stays]]:
    """By state: Perfetto's, and ours that are not inferred."""
    rows, ((first,),), born = query(trace, STATES, FIRST, NEW)
    begin = first - int(ours.axis.ts_ns[0])
    # a new task is runnable to Perfetto from the fork on, to the kernel once it is woken
    new = {(pid, ts - begin) for pid, ts in born}
    theirs = {letter: Stays() for letter in BY_LETTER}
    for letter, pid, ts, took in rows:
        if letter in theirs and (pid, ts - begin) not in new:
            theirs[letter][pid, ts - begin, took] += 1
    table = ours.analysis.states().to_pandas()
    forked = {pid for pid, _ in born}
    told = table[~table.inferred]
    later = told.groupby("pid").cumcount() > 0
    told = told[later | ~told.pid.isin(forked)]
    return {
        letter: (theirs[letter], Stays(zip(m.pid, m.start_ns, m.duration_ns, strict=True)))
        for letter, state in BY_LETTER.items()
        for m in (told[told.state == state],)
    }


def test_states_of_tasks(stays: dict[str, tuple[Stays, Stays]]) -> None:
    counts = {letter: sum(theirs.values()) for letter, (theirs, _) in stays.items()}
    assert counts["Running"] > 1300 and counts["R"] > 1300 and counts["D"] > 500, counts
    for letter in ("Running", "R+", "S"):
        theirs, mine = stays[letter]
        assert theirs == mine, letter


def test_wakeups(stays: dict[str, tuple[Stays, Stays]], ours: Recording) -> None:
    """How long the woken waited, and how long they had slept: the very events.

    But for three: woken while they were leaving the CPU, where Perfetto goes by another event.
    """
    for letter, most in (("R", 3), ("D", 1), ("I", 2)):
        theirs, mine = stays[letter]
        assert sum((theirs - mine).values()) <= most, (letter, theirs - mine)
        assert sum((mine - theirs).values()) <= most, (letter, mine - theirs)
    table = ours.analysis.wakeups().to_pandas()
    waits = Stays(zip(table.pid, table.start_ns, table.duration_ns, strict=True))
    names = ours.event_names
    woken = ours.kinds[int(ours.rows.kind[table.row.iloc[0]])].name
    assert woken == "sched:sched_waking" and "sched:sched_wakeup_new" in names
    forks = int((ours.name_codes(slice(None)) == names.index("sched:sched_wakeup_new")).sum())
    assert sum(waits.values()) > 1300
    assert sum((waits - stays["R"][0]).values()) == forks  # their first wait is not Perfetto's


def test_interrupts_softirqs_and_timers(ours: Recording, trace: Path) -> None:
    (slices,) = query(trace, SLICES)
    theirs: dict[tuple[str, str], Counter[int]] = {}
    for track, name, took in slices:
        plain = name.removeprefix("IRQ (").rstrip(")")
        theirs.setdefault((track, "" if track == "cpu_hrtimer" else plain), Counter())[took] += 1
    table = ours.analysis.spans().to_pandas()
    table = table[table.duration_ns.notna()]
    named = {
        ("cpu_irq", "LocalTimer"): (table.kind == "vector") & (table.name == "local_timer"),
        ("cpu_irq", "virtio0"): table.name == "22 virtio0",
        ("cpu_hrtimer", ""): table.name.isin(["tick_nohz_handler", "hrtimer_wakeup"]),
        **{
            ("cpu_softirq", name): (table.kind == "softirq") & (table.name == name)
            for name in ("SCHED", "RCU", "TIMER")
        },
    }
    for key, mine in named.items():
        found = Counter(int(ns) for ns in table[mine].duration_ns)
        assert sum(found.values()) > 500
        assert sum((theirs[key] - found).values()) <= 0.02 * sum(found.values()), key
        if key[0] != "cpu_hrtimer":  # of which Perfetto has other handlers as well
            assert theirs[key] == found, key
