"""The names of one boot, of its newest save and of earlier ones."""

from __future__ import annotations

from pathlib import Path

from tests.support.session_trees import make_session, two_cpus
from tracekit.session import Session
from tracekit.timeline.boot import Boot
from tracekit.timeline.saved.names import names_of_tasks, parse_comms

MODULES = 0xFFFFFFFFC0000000


def module(base: int, name: str, *symbols: str) -> str:
    return "".join(f"{base + 64 * i:016x} t {s}\t[{name}]\n" for i, s in enumerate(symbols))


def test_what_the_kernel_has_forgotten_is_no_name() -> None:
    assert parse_comms("1 init\n2 <...>\n3 <XXX>\n4 a b\nx y\n5\n") == {1: "init", 4: "a b"}
    layers = ["1 init\n2 <...>\n", "2 sh\n3 cat\n", "2 old\n3 cat\n1 init\n"]
    assert names_of_tasks(layers) == {1: ("init",), 2: ("sh", "old"), 3: ("cat",)}


def test_a_string_that_was_another_one(tmp_path: Path) -> None:
    file = "sys/kernel/tracing/printk_formats"
    session = make_session(tmp_path, two_cpus(2), {file: '0xffffffffc0000000 : "now"\n'})
    kept = session / "boots/0/earlier/printk_formats"
    kept.parent.mkdir()
    kept.write_text('# gone\n0xffffffffc0000000 : "then"\n0xffffffffc0000008 : "only then"\n')
    boot = Boot(Session.open(session), 0)
    assert boot.context.printk_formats == {MODULES: "now", MODULES + 8: "only then"}
    assert [d.code for d in boot.diagnostics] == ["printk-contradiction"]


def test_an_event_probe_that_was_removed(tmp_path: Path) -> None:
    """It has recorded; what a name stands for now is what the newest list says."""
    file = "sys/kernel/tracing/dynamic_events"
    now = "p:mine/opened do_sys_openat2\ne:eps/swi sched.sched_waking pid=$pid\n"
    session = make_session(tmp_path, two_cpus(2), {file: now})
    kept = session / "boots/0/earlier/dynamic_events"
    kept.parent.mkdir()
    kept.write_text(
        "# gone\ne3:eps/swi sched.sched_switch\ne:eps/gone irq.softirq_entry vec=$vec\n"
    )
    eprobes = Boot(Session.open(session), 0).context.eprobes
    assert eprobes == {"eps/swi": "sched.sched_waking", "eps/gone": "irq.softirq_entry"}


def test_the_release_that_printers_ask_for(tmp_path: Path) -> None:
    boot = Boot(Session.open(make_session(tmp_path, two_cpus(2))), 0)
    assert boot.context.release == boot.release
    assert boot.context.version is not None
