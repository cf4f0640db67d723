"""The probes on a distribution's kernel, without its headers: what is done to the tracers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.guest import BASE_CMDLINE, STOCK, guest_run, need_kernel, record
from tests.support.guests import control_in_guest
from tracekit.lab.machine import Plan, Result
from tracekit.recording import Recording

pytestmark = pytest.mark.lab

CMDLINE = f"{BASE_CMDLINE} memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70000000:8M"
IN_GUEST = Path(control_in_guest.__file__)
RUN = "PYTHONPATH=/opt/tracekit python3 -P /tmp/control_in_guest.py"
SCRIPT = f"""
cat > /tmp/control_in_guest.py <<'EOF'
{IN_GUEST.read_text()}
EOF
tracekit doctor --json > /var/lib/tracekit/doctor.json || true
{record()}
{RUN} change
interrupt
{RUN} /var/lib/tracekit/kprobes.json
"""
Found = dict[str, Any]
#: What was done, instance, file, value, task; in order.
CHANGES = [
    ("mkdir", "other", "", "", "mkdir"),
    ("write", "other", "buffer_size_kb", "64", "change"),
    ("write", "other", "trace_clock", "mono", "change"),
    ("write", "other", "current_tracer", "nop", "change"),
    ("truncate", "other", "set_event", "", "change"),
    ("write", "other", "set_event", "sched:sched_switch", "change"),
    ("write", "other", "sched_process_exec/enable", "1", "change"),
    ("write", "other", "options/overwrite", "0", "change"),
    ("truncate", "other", "set_event", "", "change"),
    ("write", "other", "set_event", "a text of more than thirty-tw...", "change"),
    ("open", "other", "cpu1/trace_pipe_raw", "", "cat"),
    ("close", "other", "cpu1/trace_pipe_raw", "", "cat"),
    ("open", "other", "free_buffer", "", "change"),
    ("close", "other", "free_buffer", "", "change"),
    ("truncate", "other", "trace", "", "change"),
    ("rmdir", "other", "", "", "rmdir"),
    ("write", "", "tracing_on", "0", "change"),
    ("write", "", "tracing_on", "1", "change"),
    ("write", "tk", "irq/enable", "0", "change"),
]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    need_kernel(STOCK)
    return guest_run(Plan(STOCK, (SCRIPT,), cmdline=CMDLINE), tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def recording(result: Result) -> Recording:
    return tracekit.open(result.output / "session")


def test_the_probes_need_no_headers(recording: Recording) -> None:
    probes = recording.session.json("boots/0/bpf.json")
    assert probes["mode"] == "bpf" and probes["lost"] == 0
    assert probes["headers"].endswith("/bpf/headers")
    attached = {probe["event"] for probe in probes["probes"]}
    for event in ("kexec:kernel_kexec", "kexec:machine_kexec", "device:shutdown", "tracefs:write"):
        assert event in attached
    missing = {entry["event"]: entry["reason"] for entry in probes["missing"]}
    assert "CONFIG_KPROBE_EVENTS_ON_NOTRACE" in missing["ring_buffer:resize"]


def test_doctor_says_so(result: Result) -> None:
    document = json.loads((result.output / "doctor.json").read_text())
    checks = {check["id"]: check for check in document["checks"]}
    assert checks["headers"]["found"].startswith("tracekit has its own (no headers of 6.")
    assert checks["probes"]["state"] == "ok"
    assert checks["probes"]["found"].startswith("BPF; of the tracers the control files")


def test_every_change_is_recorded_in_order(recording: Recording) -> None:
    changes = recording.report().control
    found = [(c.done, c.instance, c.file, c.value, c.comm) for c in changes]
    assert found == CHANGES
    times = [change.ns for change in changes]
    assert None not in times and times == sorted(times, key=lambda ns: ns or 0)
    rows = recording.timeline.to_pylist()
    assert {row["source"] for row in rows if row["event"].startswith("tracefs:")} == {"bpf"}


def test_the_counts_are_beside_them(recording: Recording) -> None:
    deltas = recording.event("ring_buffer:deltas").to_pylist()
    assert {row["instance"] for row in deltas} == {"tk", ""}
    for instance in ("tk", ""):
        mine = [row for row in deltas if row["instance"] == instance]
        assert {row["cpu"] for row in mine} == {0, 1}
        assert all(row["written"] >= row["written_delta"] >= 0 for row in mine)
    grown = [change.grown for change in recording.report().control]
    assert grown[-1] is not None and grown[-1] > 0


def test_they_are_in_the_persistent_ring_too(result: Result, tmp_path: Path) -> None:
    """Without what reached user space the region alone tells the same."""
    session = tmp_path / "session"
    shutil.copytree(result.output / "session", session)
    (session / "boots/0/bpf.bin.zst").unlink()
    changes = tracekit.open(session).report().control
    found = [(c.done, c.instance, c.file, c.value, c.comm) for c in changes]
    assert found == CHANGES


def test_kprobe_events_tell_the_same(result: Result) -> None:
    found: Found = json.loads((result.output / "kprobes.json").read_text())
    assert not [m for m in found["probes"]["missing"] if "refused" in m["reason"]]
    assert found["removed"] > 50
    entry = (
        r" (?:tracefs|instance)_(write|truncate|open|close|mkdir|rmdir): \([^)]*\) "
        r'(?:file|instance)="([^"]*)"(?: in1="([^"]*)")?'
    )
    seen = re.findall(entry, found["text"])
    assert seen == [
        (done, file.rpartition("/")[2], file.rpartition("/")[0] or instance or "/")
        if file
        else (done, instance, "")
        for done, instance, file, _, _ in CHANGES
    ]
    values = re.findall(r'count=(\d+) buffer="(.*?)" magic', found["text"], re.S)
    sent = [value for done, _, _, value, _ in CHANGES if done == "write"]
    assert [text[: int(count)].rstrip("\n")[:29] for count, text in values] == [
        value[:29] for value in sent
    ]
