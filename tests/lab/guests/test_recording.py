"""Recording in one boot: a buffer that wraps, Ctrl-C, kill -9, and that nothing stays behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import BASE_CMDLINE, OLD, guest_run
from tracekit.lab.machine import Plan, Result
from tracekit.session import Session

pytestmark = pytest.mark.lab

SMALL = (
    f"{BASE_CMDLINE} kho=on reserve_mem=512K:2M:tkA reserve_mem=512K:2M:tkB"
    " trace_instance=tk^traceoff@tkA"
)
STATE = """
state() {
    cat $TK/trace_clock $TK/tracing_on $TK/set_event $TK/current_tracer
    cat /sys/kernel/tracing/kprobe_events /sys/kernel/tracing/saved_cmdlines_size
    grep -h ^entries $TK/per_cpu/*/stats
    ls /sys/kernel/tracing/instances
}
"""
SCRIPT = f"""
{STATE}
state > /var/lib/tracekit/before
record --no-bpf --clock local --events '*:*'
i=0; while [ $i -lt 3000 ]; do echo "load $i" > $TK/trace_marker; i=$((i + 1)); done
interrupt
state > /var/lib/tracekit/after-interrupt

S=/var/lib/tracekit/killed
record --events handover
echo "a marker" > $TK/trace_marker
kill -9 $recorder
wait $recorder || true
state > /var/lib/tracekit/after-kill
echo "a marker" > $TK/trace_marker # the ring is small: one from before may be pushed out by now
tracekit record --cleanup 2>&1
state > /var/lib/tracekit/after-cleanup
tracekit record --cleanup 2>&1

status=0
tracekit handover --no-bpf --kernel /etc/passwd -o /var/lib/tracekit/refused 2>&1 || status=$?
echo "STATUS: $status"
state > /var/lib/tracekit/after-refusal
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return guest_run(Plan(OLD, (SCRIPT,), cmdline=SMALL), tmp_path_factory.mktemp("recording"))


@pytest.fixture
def output(result: Result) -> Path:
    return result.output


def stats(session: Session, cpu: int) -> dict[str, int]:
    text = session.read(f"boots/0/tracefs/instances/tk/per_cpu/cpu{cpu}/stats").decode()
    return {name: int(n) for name, n in re.findall(r"^([a-z ]+): (\d+)$", text, re.M)}


def test_a_buffer_that_wraps_is_accounted_for(output: Path) -> None:
    session = Session.open(output / "session")
    report = tracekit.open(output / "session").report()
    assert report.boots[0].lost
    for cpu in report.boots[0].cpus:
        kernel = stats(session, cpu.cpu)
        assert cpu.events == kernel["entries"]
        assert (cpu.lost, cpu.lost_at_least) == (kernel["overrun"], False)


@pytest.mark.parametrize("name", ["after-interrupt", "after-cleanup", "after-refusal"])
def test_nothing_stays_behind(output: Path, name: str) -> None:
    assert (output / name).read_text() == (output / "before").read_text()


def test_a_killed_recorder_leaves_the_record_to_cleanup(output: Path) -> None:
    assert (output / "after-kill").read_text() != (output / "before").read_text()
    recording = tracekit.open(output / "killed")
    table = recording.event("ftrace:print")
    assert any("a marker" in text for text in table["buf"].to_pylist())
    manifest = json.loads((output / "killed" / "manifest.json").read_text())
    assert manifest["state"] == "recovered"


def test_a_kernel_that_is_none_is_refused_by_the_kernel(result: Result) -> None:
    lines = [line.text for line in result.console]
    assert "STATUS: 3" in lines
    assert any("not a kernel image this kernel can load" in line for line in lines)
