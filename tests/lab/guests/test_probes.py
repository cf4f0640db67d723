"""The probes in a real kernel: what they are to see happens, and each account of it agrees."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import probes_in_guest
from tests.support.guest import CMDLINE, OLD, guest_run
from tests.support.probes_in_guest import CALLS, CHANGES, NAME, PRESERVED, TOKEN
from tracekit.lab.machine import Plan

pytestmark = pytest.mark.lab

IN_GUEST = Path(probes_in_guest.__file__)
SCRIPT = f"""
cat > /tmp/probes_in_guest.py <<'EOF'
{IN_GUEST.read_text()}
EOF
rm -rf /var/cache/tracekit/bpf # these are compiled here
PYTHONPATH=/opt/tracekit python3 -P /tmp/probes_in_guest.py /var/lib/tracekit/probes.json
"""

PRINTED = ("kexec:", "tracefs:", "ring_buffer:instance")

Found = dict[str, Any]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    plan = Plan(OLD, (SCRIPT,), cmdline=f"{CMDLINE} liveupdate=on")
    result = guest_run(plan, tmp_path_factory.mktemp("probes"))
    loaded: Found = json.loads((result.output / "probes.json").read_text())
    return loaded


@pytest.fixture
def bpf(found: Found) -> Found:
    part: Found = found["bpf"]
    return part


def of(bpf: Found, event: str) -> list[Found]:
    return [record for record in bpf["records"] if record["event"] == event]


def test_nothing_is_lost_and_nothing_comes_twice(bpf: Found) -> None:
    assert bpf["lost"] == 0
    assert {record["cpu"] for record in bpf["records"]} <= {0, 1}
    for cpu in (0, 1):
        numbers = [record["seq"] for record in bpf["records"] if record["cpu"] == cpu]
        assert numbers == list(range(len(numbers)))


def test_every_call_returns(bpf: Found) -> None:
    events = [record["event"] for record in bpf["records"]]
    marks = {"kho:preserve", "kho:unpreserve", "tracefs:write"}  # no calls
    calls = {e.removesuffix("_return") for e in events} - marks
    assert {"kexec:load", "kexec:load_segment", "luo:preserve_file"} <= calls
    assert {e: events.count(f"{e}_return") for e in calls} == {e: events.count(e) for e in calls}
    returns = [r for r in bpf["records"] if r["event"].endswith("_return")]
    assert all(r["duration_ns"] > 0 for r in returns)
    assert all(r["values"][0] == 0 for r in returns)  # and none with an error


def test_the_segments_of_the_kernel_that_was_loaded(bpf: Found) -> None:
    segments = [record["values"] for record in of(bpf, "kexec:load_segment")]
    assert len(segments) >= 4  # purgatory, boot parameters, kernel, initramfs
    assert [index for index, *_ in segments] == list(range(len(segments)))
    assert all(pa % 4096 == 0 and size >= copied > 0 for _, pa, size, copied in segments)
    assert len(of(bpf, "kexec:load")) == 1


def test_a_luo_session_and_its_file(bpf: Found) -> None:
    assert [r["name"] for r in of(bpf, "luo:create_session")] == [NAME]
    (file,) = of(bpf, "luo:preserve_file")
    assert (file["name"], file["values"][0]) == (NAME, TOKEN)


def test_preserved_bytes_add_up(bpf: Found) -> None:
    """All of the file and little besides, no page twice; and all of it is let go again."""
    ranges = sorted(tuple(r["values"][:2]) for r in of(bpf, "kho:preserve"))
    (begin,), (end,) = of(bpf, "luo:preserve_file"), of(bpf, "luo:preserve_file_return")
    during = [r for r in of(bpf, "kho:preserve") if begin["ns"] <= r["ns"] <= end["ns"]]
    assert PRESERVED <= sum(r["values"][1] for r in during) < PRESERVED + (64 << 10)
    for (pa, size), (following, _) in pairwise(ranges):
        assert pa + size <= following
    assert sorted(tuple(r["values"][:2]) for r in of(bpf, "kho:unpreserve")) == ranges


def test_an_instance_is_made_and_removed(bpf: Found) -> None:
    for event in ("ring_buffer:instance_mkdir", "ring_buffer:instance_rmdir"):
        assert [record["name"] for record in of(bpf, event)] == [NAME]


def test_what_others_write_to_control_files(bpf: Found) -> None:
    writes = of(bpf, "tracefs:write")
    assert [(r["name"], r["driver"]) for r in writes] == [(file, NAME) for file in CHANGES]
    values = [b"".join(v.to_bytes(8, "little") for v in r["values"]) for r in writes]
    assert [value.rstrip(b"\0").decode() for value in values] == list(CHANGES.values())


def test_they_are_compiled_once(found: Found) -> None:
    assert found["bpf"]["probes"]["compiled"] is True
    assert found["again"]["compiled"] is False


def test_the_headers_are_tracekits(bpf: Found) -> None:
    assert bpf["probes"]["headers"].endswith("/bpf/headers")


def test_what_is_not_probed_is_listed_with_the_reason(bpf: Found) -> None:
    attached = {probe["event"] for probe in bpf["probes"]["probes"]}
    for event in ("kexec:kernel_kexec", "kexec:machine_kexec", "device:shutdown", "kho:preserve"):
        assert event in attached
    reasons = {missing["event"]: missing["reason"] for missing in bpf["probes"]["missing"]}
    for event in ("resize", "set_clock", "record_off"):  # all of them were made to happen
        full = f"ring_buffer:{event}"
        assert of(bpf, full) or "CONFIG_KPROBE_EVENTS_ON_NOTRACE" in reasons[full]
    assert all(reasons.values())
    assert not attached & set(reasons)


def test_both_ways_out_agree(bpf: Found) -> None:
    """What was printed into the instance is what came through the BPF ring buffer."""
    sent = [r for r in bpf["records"] if r["event"].startswith(PRINTED)]
    assert len(sent) > 10

    def in_order(records: list[Found]) -> list[Found]:
        return sorted(records, key=lambda record: (record["cpu"], record["seq"]))

    assert in_order(bpf["printed"]) == in_order(sent)


def test_the_counters_are_the_instances(bpf: Found) -> None:
    written = [record["values"][0] for record in bpf["counters"]]
    assert [record["cpu"] for record in bpf["counters"]] == [0, 1]
    assert sum(written) == len(bpf["printed"])


def test_losses_are_counted_when_nobody_reads(bpf: Found) -> None:
    overload = bpf["overload"]
    assert overload["lost"] > 0
    assert overload["kept"] + overload["lost"] == overload["numbered"] == 2 * CALLS


def test_the_kernel_takes_every_kprobe_event(found: Found) -> None:
    events = found["kprobe_events"]
    assert events["refused"] == []
    assert events["removed"] == len(events["lines"]) > 50
    seen = re.findall(r": (\w+): \(", events["text"])
    segments = len(of(found["bpf"], "kexec:load_segment"))
    assert seen.count("load_segment") == seen.count("load_segment_return") == segments
    assert (seen[0], seen[-1]) == ("load", "load_return")


def test_nothing_is_left_of_a_killed_process(found: Found) -> None:
    killed = found["killed"]
    assert killed["status"] == 9
    assert killed["while_loaded"] > 50
    assert (killed["left"], killed["kprobe_events"]) == ("", "")
    assert found["bpf"]["kprobe_events"] == ""  # they are no events of tracefs
