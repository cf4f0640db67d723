"""The critical chain: what is known has its events, what is not is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tests.support.bpf_records import BootFiles, executed, region, write_session
from tests.support.sessions.handovers import opened
from tests.support.sessions.live import KALLSYMS, MS, PCI, START, a_device, way_out
from tests.support.sessions.made_events import at as made_at
from tests.support.sessions.made_events import made as made_events
from tests.support.sessions.made_events import switch as made_switch
from tests.support.sessions.switches import (
    SCHED_FILES,
    interrupt,
    interrupt_left,
    switch,
    waking,
)
from tracekit.browse.coverage import losses_of
from tracekit.report.critical.chain import chain_to, critical_chains
from tracekit.report.critical.links import Chain, Link
from tracekit.report.critical.tasks import Losses, Tasks
from tracekit.timeline.events import Events

Timed = tuple[int, bytes]
SLEEPS, SLEEPS_D = 1, 2


def made(tmp_path: Path, *cpus: Sequence[Timed], lost: Losses | None = None) -> Chain:
    """The chain of a session whose old kernel recorded this beside the way out of task 7."""
    out = [*way_out(), *(cpus[0] if cpus else ())]
    files = {"kallsyms": KALLSYMS, **SCHED_FILES}
    old = BootFiles(region(sorted(out), *[sorted(c) for c in cpus[1:]]), files=files)
    new = BootFiles(region([(START + 900 * MS, executed("/init", 1))]), files=dict(SCHED_FILES))
    (chain,) = critical_chains(tracekit.open(write_session(tmp_path / "s", [old, new])), lost or {})
    return chain


def at(ms: float, payload: bytes) -> Timed:
    return START + int(ms * MS), payload


def flat(links: Sequence[Link]) -> Iterator[Link]:
    for link in links:
        yield link
        yield from flat(link.inside)


def in_phase(chain: Chain, name: str) -> list[tuple[str, str]]:
    phase = next(link for link in chain.links if link.what == name)
    return [(link.kind, link.what) for link in phase.inside]


def test_without_switches_what_ran_is_unknown(tmp_path: Path) -> None:
    chain = made(tmp_path)
    assert in_phase(chain, "notifiers") == [("unknown", "nothing was recorded here")]
    assert any("no sched:sched_switch" in note for note in chain.notes)
    assert chain.known_ns == 2 * MS and chain.unknown_ns > 0  # the call of liveupdate_reboot()


def test_a_task_that_no_switch_takes_away_runs(tmp_path: Path) -> None:
    chain = made(tmp_path, [at(-5, switch(3, 7))])
    assert in_phase(chain, "notifiers") == [("runs", "t7-7 runs on CPU 0")]


def test_a_wait_for_a_task_follows_that_task(tmp_path: Path) -> None:
    """7 sleeps; 9 runs on the other CPU, is preempted, runs on, and wakes it."""
    chain = made(
        tmp_path,
        [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS_D)), at(31, switch(0, 7))],
        [at(-4, switch(0, 9)), at(22, switch(9, 4)), at(25, switch(4, 9)), at(30, waking(7, 9))],
    )
    phase = next(link for link in chain.links if link.what == "device shutdown")
    kinds = [(link.kind, link.start_ns, link.duration_ns) for link in phase.inside]
    begin = phase.start_ns or 0
    assert kinds == [
        ("runs", begin, 12 * MS),
        ("blocked", begin + 12 * MS, 10 * MS),
        ("waits for a CPU", begin + 22 * MS, MS),
        ("runs", begin + 23 * MS, kinds[-1][2]),
    ]
    blocked = phase.inside[1]
    assert blocked.what == "t7-7 slept (D) until t9-9 woke it"
    assert [link.what for link in blocked.inside] == [
        "t9-9 runs on CPU 1",
        "t9-9 could run, and waited for CPU 1: there ran t4-4",
        "t9-9 runs on CPU 1",
    ]
    assert sum(link.duration_ns or 0 for link in blocked.inside) == blocked.duration_ns
    assert [e.event for e in blocked.evidence] == ["sched:sched_switch", "sched:sched_waking"]


@pytest.mark.parametrize("left", [False, True])
def test_a_wait_that_an_interrupt_ends_names_it(tmp_path: Path, left: bool) -> None:
    """Only the one that was entered and not left: else the record does not name it."""
    gone = [at(29.5, interrupt_left(5))] if left else []
    chain = made(
        tmp_path,
        [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS)), at(31, switch(0, 7)),
         at(50, interrupt(4, 7)), at(51, interrupt_left(4, 7))],
        [at(29, interrupt(5)), *gone, at(30, waking(7, 0, in_interrupt=True))],
    )  # fmt: skip
    blocked = next(link for link in flat(chain.links) if link.kind == "blocked")
    name = "an interrupt that the record does not name" if left else "irq_handler_entry irq=5"
    assert blocked.what == f"t7-7 slept (S) until an interrupt on CPU 1 woke it: {name}"


def test_a_wait_without_a_wakeup_is_unknown(tmp_path: Path) -> None:
    chain = made(
        tmp_path, [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS_D)), at(31, switch(0, 7))]
    )
    (link,) = [one for one in flat(chain.links) if "slept" in one.what]
    assert link.kind == "unknown" and "sched:sched_waking was not recorded" in link.what
    assert any("no sched:sched_waking" in note for note in chain.notes)


def test_a_wakeup_by_nobody_in_particular_is_unknown(tmp_path: Path) -> None:
    chain = made(
        tmp_path,
        [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS)), at(31, switch(0, 7))],
        [at(30, waking(7, 0))],
    )
    (link,) = [one for one in flat(chain.links) if "slept" in one.what]
    assert link.kind == "unknown" and "idle CPU 1" in link.what


def test_switches_that_do_not_fit_are_no_evidence(tmp_path: Path) -> None:
    """It comes on the CPU twice: that it left in between is missing."""
    chain = made(tmp_path, [at(-5, switch(3, 7)), at(20, switch(4, 7)), at(40, switch(4, 7))])
    phase = next(link for link in chain.links if link.what == "device shutdown")
    assert [link.kind for link in phase.inside] == ["unknown", "unknown", "runs"]
    assert phase.inside[2].start_ns == (chain.zero_ns or 0) - (99 - 40) * MS


@pytest.mark.parametrize(
    ("cpu", "ran", "slept"), [(0, "unknown", "unknown"), (1, "runs", "unknown")]
)
def test_where_events_are_lost_nothing_is_known(
    tmp_path: Path, cpu: int, ran: str, slept: str
) -> None:
    """While it runs those of its CPU count; while it does not, it may have run on any."""
    switches = [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS)), at(31, switch(0, 7))]
    other = [at(-4, switch(0, 9)), at(30, waking(7, 9))]
    for name in ("whole", "lost"):
        (tmp_path / name).mkdir()
    zero = made(tmp_path / "whole", switches, other).zero_ns or 0

    def ns(ms: int) -> int:
        return zero - (99 - ms) * MS

    hole = {cpu: [(ns(12), ns(14)), (ns(22), ns(25))]}
    chain = made(tmp_path / "lost", switches, other, lost=hole)
    found = {(link.start_ns, link.kind) for link in flat(chain.links) if link.kind != "phase"}
    assert (ns(12), ran) in found or ran == "runs"
    assert (ns(22), slept) in found and (ns(25), "blocked") in found
    assert ((ns(12), "unknown") in found) == (ran == "unknown")


def test_two_tasks_that_wait_for_each_other_end(tmp_path: Path) -> None:
    chain = made(
        tmp_path,
        [at(-5, switch(3, 7)), at(20, switch(7, 0, SLEEPS)), at(40, switch(0, 7))],
        [at(-4, switch(0, 9)), at(21, switch(9, 0, SLEEPS)), at(30, waking(9, 7)),
         at(31, switch(0, 9)), at(39, waking(7, 9))],
    )  # fmt: skip
    assert len(list(flat(chain.links))) < 100


def test_calls_hold_what_their_task_did_in_them(tmp_path: Path) -> None:
    device = a_device(0, START + 10 * MS, 20 * MS, "0000:00:01.0", PCI, driver="nvme")
    chain = made(
        tmp_path,
        [*device, at(-5, switch(3, 7)), at(15, switch(7, 0, SLEEPS)), at(25, switch(0, 7))],
        [at(24, waking(7, 5))],
    )
    (call,) = [link for link in flat(chain.links) if link.kind == "call" and "device" in link.what]
    assert call.what == "device 0000:00:01.0 (nvme pci_device_shutdown)"
    assert [link.kind for link in call.inside] == ["runs", "blocked", "waits for a CPU", "runs"]
    assert sum(link.duration_ns or 0 for link in call.inside) == call.duration_ns == 20 * MS


@pytest.mark.parametrize("name", ["handover-7.2-tsc", "handover-7.2-to-7.3-tsc"])
def test_of_a_real_handover(name: str, session: Callable[[str], Path]) -> None:
    """The links leave no gap, add up to the blackout, and each has its events or is unknown."""
    events = opened(session(name))
    (chain,) = critical_chains(events, losses_of(events))
    timed = [link for link in chain.links if link.duration_ns is not None]
    for one, other in pairwise(timed):
        assert (one.start_ns or 0) + (one.duration_ns or 0) == other.start_ns
    whole = sum(link.duration_ns or 0 for link in timed)
    assert whole == chain.known_ns + chain.unknown_ns
    assert whole == pytest.approx(chain.blackout_ns, abs=1)  # each is rounded by itself
    for link in flat(chain.links):
        assert link.evidence or link.kind == "unknown", link.what
        if link.inside:
            assert sum(one.duration_ns or 0 for one in link.inside) == link.duration_ns
    assert chain.begin is not None and chain.end is not None
    assert chain.end.event == "sched:sched_process_exec"


def test_a_panic_is_followed_to_its_end(session: Callable[[str], Path]) -> None:
    (chain,) = critical_chains(opened(session("stock-6.12-panic-tsc")), {})
    names = [link.what.partition(":")[0] for link in chain.links if link.kind == "phase"]
    assert names == ["panic", "crash kexec", "crash shutdown", "machine_kexec"]
    assert any("first user process" in note for note in chain.notes)


def test_initcalls_of_modules_are_after_the_blackout(session: Callable[[str], Path]) -> None:
    """They run in user space's time: the last level ends before it."""
    events = opened(session("stock-6.12-carveout-tsc"))
    (chain,) = critical_chains(events, losses_of(events))
    timed = [link for link in chain.links if link.duration_ns is not None]
    whole = sum(link.duration_ns or 0 for link in timed)
    assert whole == pytest.approx(chain.blackout_ns, abs=1)


PIDS = st.integers(1, 4)
STEPS = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(0, 1),
        st.one_of(
            st.builds(switch, PIDS, PIDS, st.sampled_from([0, 1, 2, 0x100, 0x80])),
            st.builds(waking, PIDS, PIDS, in_interrupt=st.booleans()),
            st.builds(interrupt, st.integers(0, 9)),
        ),
    ),
    max_size=30,
)  # fmt: skip


@given(STEPS)
def test_whatever_was_recorded_a_task_has_one_state_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bytes]]
) -> None:
    cpus: tuple[list[Timed], list[Timed]] = ([at(0, switch(1, 2))], [])
    ms = 0
    for after, cpu, payload in steps:
        ms += after
        cpus[cpu].append(at(ms, payload))
    path = tmp_path_factory.mktemp("s") / "s"
    events: Events = tracekit.open(
        write_session(path, [BootFiles(region(*cpus), files=dict(SCHED_FILES))])
    )
    first, last = int(events.axis.ts_ns[0]), int(events.axis.ts_ns[-1])
    for pid in range(1, 5):
        stays = Tasks(events, 0).stays(pid, first, last)
        edges = [(s.start_ns, s.end_ns) for s in stays]
        assert all(a[1] == b[0] for a, b in pairwise(edges))
        assert not edges or (edges[0][0], edges[-1][1]) == (first, last)


def test_back_from_any_event(tmp_path: Path) -> None:
    """Task 9 sleeps until task 7 wakes it, which was on the other CPU; each link has its events."""
    events = [
        [made_at(0, "syscalls/sys_enter_write"), made_at(60, "sched/sched_waking", 9, 1),
         made_at(100, "syscalls/sys_exit_write")],
        [made_switch(10, 9, 1, 0), made_switch(80, 0, 0, 9),
         made_at(95, "syscalls/sys_enter_read", pid=9)],
    ]  # fmt: skip
    recording = tracekit.open(made_events(tmp_path / "s", *events))
    row = len(recording) - 2
    assert int(recording.rows.pid[row]) == 9
    chain = chain_to(recording, {}, row, int(recording.axis.ts_ns[0]))
    (link,) = chain.links
    assert [(one.kind, (one.duration_ns or 0) // 1000) for one in link.inside] == [
        ("runs", 10), ("blocked", 50), ("waits for a CPU", 20), ("runs", 15),
    ]  # fmt: skip
    assert "until <...>-7 woke it" in link.inside[1].what
    assert sum(one.duration_ns or 0 for one in link.inside) == link.duration_ns == 95_000
    assert (chain.known_ns, chain.unknown_ns) == (95_000, 0)
    assert chain.end is not None and chain.end.event == "syscalls:sys_enter_read"
    later = chain_to(recording, {}, row, int(recording.axis.ts_ns[row]) - 20_000)
    assert [one.kind for one in later.links[0].inside] == ["waits for a CPU", "runs"]


def test_back_from_an_idle_cpu_there_is_nothing(tmp_path: Path) -> None:
    events = [made_switch(10, 9, 1, 0), made_at(20, "irq/irq_handler_entry", 5, pid=0)]
    recording = tracekit.open(made_events(tmp_path / "s", events))
    chain = chain_to(recording, {}, 1, int(recording.axis.ts_ns[0]))
    assert chain.links[0].inside == () and chain.known_ns == 0
    assert any("no task to follow" in note for note in chain.notes)
