"""The story of a panic: its words, its times, what each CPU was doing."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tests.support.bpf_records import BootFiles, common, format_text, region, write_session
from tests.support.sessions.live import MS, START
from tests.support.sessions.ways import next_boot
from tracekit.cli import main
from tracekit.report.make import Report
from tracekit.report.panic import PanicReport

OFFSET = -30 * MS  # how far printk's clock is ahead of `local`
_FIELD = "u64 vec;\toffset:8;\tsize:8;\tsigned:0;"
FORMATS: dict[str, str | bytes] = {
    f"tracefs/events/irq/{name}/format": format_text(name, number, [_FIELD], '"%llu", REC->vec')
    for name, number in (("softirq_entry", 53), ("softirq_exit", 54))
}
CRASH = {
    "panic_cpu": 1,
    "printk_offset_ns": OFFSET,
    "running": [{"cpu": 0, "pid": 0, "comm": "swapper/0"}, {"cpu": 1, "pid": 77, "comm": "cat"}],
}


def softirq(ms: float, begins: bool = True) -> tuple[int, bytes]:
    return START + int(ms * MS), common(53 if begins else 54) + struct.pack("<Q", 9)


def line(ms: float, text: str) -> str:
    """A line of the log, printed so many ms after START of `local`."""
    ns = START + int(ms * MS) + OFFSET
    return f"[{ns // 10**9:5d}.{ns % 10**9 // 1000:06d}] {text}\n"


LOG = [
    line(-15, "systemd[1]: started"),
    line(5, "BUG: kernel NULL pointer dereference, address: 0000000000000000"),
    line(5.1, "RIP: 0010:do_thing+0x10/0x20"),
    line(7, "Kernel panic - not syncing: Fatal exception"),
]


@pytest.mark.parametrize(
    "words",
    [
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cat:77]",
        "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1",
        "Uhhuh. NMI received for unknown reason 20 on CPU 0.",
        "NMI: IOCK error (debug interrupt?) for reason 60 on CPU 0.",
        "mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 4: be00000000800400",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "general protection fault, probably for non-canonical address",
    ],
)
def test_where_the_story_begins(tmp_path: Path, words: str) -> None:
    """At whatever the kernel says first of it, not at the panic that comes of it."""
    log = [line(-15, "systemd[1]: started"), line(5, words), LOG[-1]]
    (panic,) = story(tmp_path, log).panics
    assert panic.first == words and len(panic.text) == 2
    assert panic.reason == "Fatal exception"


def story(
    tmp_path: Path,
    log: Sequence[str] = LOG,
    crash: dict[str, Any] | None = None,
    alone: bool = True,
) -> Report:
    document = json.dumps(CRASH if crash is None else crash)
    files = {**FORMATS, "crash.json": document, "dmesg": "".join(log)}
    cpus = [
        [softirq(0), softirq(1, begins=False), softirq(20, begins=False)],
        [softirq(2), softirq(3, begins=False), softirq(19)],
    ]
    boots = [BootFiles(region(*cpus), files=files)]
    session = write_session(tmp_path / "s", boots + ([] if alone else [next_boot(loader=0xD1)]))
    return tracekit.open(session).report()


def test_the_words_and_the_times(tmp_path: Path) -> None:
    report = story(tmp_path)
    (panic,) = report.panics
    assert (panic.boot, panic.cpu, panic.reason) == (0, 1, "Fatal exception")
    assert panic.first.startswith("BUG: kernel NULL pointer")
    assert panic.text == tuple(text.rstrip("\n") for text in LOG[1:])
    assert panic.last_ns == 0  # it is what the axis begins at, 20 ms after START
    assert (panic.first_ns, panic.panic_ns) == (-15 * MS, -13 * MS)
    assert panic.went_on_ns == 15 * MS and panic.error_ns == 1


def test_what_each_cpu_did(tmp_path: Path) -> None:
    (panic,) = story(tmp_path).panics
    zero, one = panic.cpus
    assert (zero.pid, zero.panicked, zero.events, zero.did) == (
        0,
        False,
        1,
        (("irq:softirq_exit", 1),),
    )
    assert (one.pid, one.comm, one.panicked, one.events) == (77, "cat", True, 1)
    assert zero.open is None
    assert one.open is not None and (one.open.what, one.open.since_ns) == ("softirq", -MS)


def test_where_the_crash_kernel_is_in_the_session(tmp_path: Path) -> None:
    report = story(tmp_path, alone=False)
    assert report.ending is None and len(report.panics) == 1


def test_a_dump_alone_has_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = story(tmp_path)
    assert report.ending is not None and report.ending.way.name == "panic"
    assert report.ending.way.text.startswith("panic: Fatal exception; nothing in the record marks")
    assert main(["report", str(tmp_path / "s")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "The panic of cpu 1 'BUG: kernel NULL pointer dereference" in out
    assert "at -15.0 ms (± 1 ns); events went on for 15.0 ms" in out
    assert "RIP: 0010:do_thing+0x10/0x20" in out
    assert "CPU 1 cat-77 panicked last event -1.00 ms; 1 in its last 10.0 ms: irq:softirq" in out
    assert "had begun softirq: irq:softirq_entry 9" in out
    assert main(["report", "--json", str(tmp_path / "s")]) == 0
    (told,) = json.loads(capsys.readouterr().out)["panics"]
    assert told["went_on_ns"] == 15 * MS and told["cpus"][1]["open"]["event"] == "irq:softirq_entry"


def test_where_printks_clock_is_not_known(tmp_path: Path) -> None:
    (panic,) = story(tmp_path, crash={**CRASH, "printk_offset_ns": None}).panics
    assert (panic.first_ns, panic.error_ns, panic.went_on_ns) == (None, None, None)
    assert panic.reason == "Fatal exception" and panic.last_ns == 0


def test_an_alarm_long_before_is_another_story(tmp_path: Path) -> None:
    log = [
        "[    0.000001] BUG: workqueue lockup - pool cpus=1\n",
        "[  100.000000] Oops: 0002 [#1] SMP\n",
        "[  130.000000] BUG: scheduling while atomic: cat/77/0x00000002\n",
        "[  150.000000] Kernel panic - not syncing: hung_task: blocked tasks\n",
    ]
    (panic,) = story(tmp_path, log).panics
    assert panic.first == "Oops: 0002 [#1] SMP" and len(panic.text) == 3
    assert panic.reason == "hung_task: blocked tasks"


def test_a_kernel_that_lives_has_no_panic(tmp_path: Path) -> None:
    """Read out of /proc/kcore: an oops that it survived is none."""
    report = story(tmp_path, LOG[:3], {**CRASH, "panic_cpu": None})
    assert report.panics == () and report.ending is None


def test_a_log_that_does_not_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (panic,) = story(tmp_path, LOG[:1]).panics
    assert (panic.cpu, panic.reason, panic.first, panic.text) == (1, "", "", ())
    assert main(["report", str(tmp_path / "s")]) == 0
    assert "the kernel log does not say why" in capsys.readouterr().out


_ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(
    st.lists(st.sampled_from(LOG) | st.text(max_size=40).map(lambda t: f"{t}\n"), max_size=6),
    st.fixed_dictionaries(dict.fromkeys(CRASH, _ANY)),
)
def test_any_log_and_any_file(
    tmp_path_factory: pytest.TempPathFactory, log: list[str], crash: dict[str, Any]
) -> None:
    for panic in story(tmp_path_factory.mktemp("any"), log, crash).panics:
        assert isinstance(panic, PanicReport)
