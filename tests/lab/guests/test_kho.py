"""``tracekit kho`` on real kernels: against a reader of its own, and through a jump with LUO."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.guest import BASE_CMDLINE, CMDLINE, NEW, OLD, guest_run, handover, record
from tests.support.kho import in_guest
from tests.support.kho.in_guest import DEVICE, LOST, SEALED, WRITTEN
from tracekit.capture.kho.arrival import Arrival, compare
from tracekit.capture.kho.saved import from_session
from tracekit.lab.machine import Plan
from tracekit.session import Session

pytestmark = pytest.mark.lab

PREPARE = f"""
cat > /tmp/in_guest.py <<'EOF'
{Path(in_guest.__file__).read_text()}
EOF
guest() {{ PYTHONPATH=/opt/tracekit python3 -P /tmp/in_guest.py "$@"; }}
see() {{ tracekit kho --json > /var/lib/tracekit/$1.json; }}
"""
LEAVING = f"""{PREPARE}
see before
{record("--events", "handover")}
guest preserve & until [ -e /tmp/preserved ]; do sleep 0.1; done
guest master & sleep 0.5
see preserved
tracekit kho > /var/lib/tracekit/preserved.txt
tracekit doctor > /var/lib/tracekit/doctor.txt || true
guest walk /var/lib/tracekit/walk.json
{handover(NEW)}
"""
COMING = f"""{PREPARE}
tracekit recover $S
see came
cp -r $S /var/lib/tracekit/not-opened
guest retrieve & until [ -e /tmp/retrieved ]; do sleep 0.1; done
see retrieved
touch /tmp/finish; until [ -e /tmp/finished ]; do sleep 0.1; done
see finished
tracekit recover $S
"""
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cmdline = f"{CMDLINE} liveupdate=on kho_scratch=128M,64M,256M"
    plan = Plan(OLD, (LEAVING, COMING), cmdline=cmdline)
    return guest_run(plan, tmp_path_factory.mktemp("kho")).output


def seen(output: Path, name: str) -> Seen:
    found: Seen = json.loads((output / f"{name}.json").read_text())
    return found


def jump(session: Path) -> Arrival:
    found = Session.open(session)
    boots = [from_session(found, boot, found.kernel(boot)) for boot in found.boots]
    (one,) = [compare(old, new) for old, new in pairwise(boots)]
    return one


def test_the_map_is_what_another_reader_finds(output: Path) -> None:
    told, walked = seen(output, "preserved")["map"]["out"], seen(output, "walk")
    assert told["blocks"] == walked["blocks"]
    assert told["ranges"] == walked["ranges"]
    assert told["bytes"] == sum(size for _, size in walked["ranges"]) == 4096 * told["pages"]
    assert told["notes"] == []


def test_what_was_preserved_in_between_is_in_it(output: Path) -> None:
    before, after = (seen(output, name)["map"]["out"]["bytes"] for name in ("before", "preserved"))
    files = len(SEALED) + WRITTEN + len(LOST) + 5000
    assert files < after - before < files + (256 << 10)
    regions = seen(output, "before")["regions"]["out"]
    assert {region["name"] for region in regions} == {"tkA", "tkB"}
    assert before >= sum(region["size"] for region in regions)


def test_the_cost_is_the_kernels_own(output: Path) -> None:
    cost = seen(output, "before")["cost"]
    sizes = {area["kind"]: area["size"] >> 20 for area in cost["areas"]}
    assert sizes == {"low": 128, "global": 64, "node 0": 256}
    assert cost["total"] == 448 << 20
    assert cost["cma_total"] == 0 and 0 < cost["cma_free"] <= cost["total"]
    assert cost["in_use"] == cost["total"] - cost["cma_free"]
    assert "448 MiB in 3 scratch areas" in (output / "doctor.txt").read_text()
    assert "128M in low memory" in (output / "preserved.txt").read_text()


def test_sessions_before_the_jump(output: Path) -> None:
    luo = seen(output, "preserved")["luo"]
    sessions = {s["name"]: [f["token"] for f in s["files"]] for s in luo["outgoing"]}
    assert sessions == {"vm": [1, 2], "orphan": [9], "systemd": [0, 1]}
    assert luo["handlers"] == ["memfd-v2"] and luo["incoming"] == []
    assert {h["name"] for h in seen(output, "preserved")["holders"]} >= {"vm", "orphan"}
    text = (output / "preserved.txt").read_text()
    for part in ("memfd-v2, 3 MiB", "memfd-v2, 8 MiB", "web.service", "SHRINK, GROW, WRITE"):
        assert part in text


def test_sessions_after_the_jump(output: Path) -> None:
    came = seen(output, "came")["luo"]
    assert [s["name"] for s in came["incoming"]] == ["vm", "orphan", "systemd"]
    assert came["opened"] is False
    assert f"the kernel: {OLD} → {NEW}" in seen(output, "came")["changed"]
    retrieved = {s["name"]: s for s in seen(output, "retrieved")["luo"]["incoming"]}
    assert [f["retrieved"] for f in retrieved["vm"]["files"]] == [1, 1]
    assert retrieved["orphan"]["retrieved"] is False
    finished = seen(output, "finished")["luo"]["incoming"]
    assert [s["name"] for s in finished] == ["orphan", "systemd"]


def test_what_arrived_and_what_nobody_picked_up(output: Path) -> None:
    early, late = jump(output / "not-opened"), jump(output / "session")
    for found in (early, late):
        told = {f"{t.kind} {t.name}": t.verdict for t in found.things}
        assert {told[f"region {name}"] for name in ("tkA", "tkB")} == {"arrived"}
        assert told["blob LUO"] == told["blob memblock"] == "arrived"
        assert told["session orphan"] == "not picked up"
        assert told["session vm"] == ("not picked up" if found is early else "arrived")


def test_the_pages_that_arrived(output: Path) -> None:
    """The new kernel uses the list up, and marks the pages on it; nearly all are still there."""
    for session in (output / "not-opened", output / "session"):
        pages = {t.verdict: t.name for t in jump(session).things if t.kind == "pages"}
        arrived, unknown = (
            int(pages[v].split()[0].replace(",", "")) if v in pages else 0
            for v in ("arrived", "unknown")
        )
        handed_on = seen(output, "preserved")["map"]["out"]["pages"]
        assert arrived + unknown >= handed_on and arrived > 0.99 * handed_on


def test_the_sessions_that_came_are_kept(output: Path) -> None:
    """Also when the kernel has given their memory away since."""
    session = Session.open(output / "session")
    evidence = from_session(session, 1, session.kernel(1))
    assert evidence.came is not None
    assert {s.name for s in evidence.came.incoming} == {"vm", "orphan", "systemd"}


def test_a_device_that_stayed_bus_master(output: Path) -> None:
    report = tracekit.open(output / "session").report()
    left = {device.address: device for device in report.left_running}
    assert left[DEVICE].running is True
    others = [d for address, d in left.items() if address != DEVICE and d.driver == "virtio-pci"]
    assert others and all(d.running is False for d in others)
    assert all(d.before is True for d in others)


def test_the_steps_of_preservation(output: Path) -> None:
    report = tracekit.open(output / "session").report()
    steps = {(step.boot, step.name): step for step in report.kho_steps}
    assert steps[0, "preserve a file"].count == 5
    assert steps[0, "freeze files"].count == 3
    assert steps[0, "write down sessions"].count == 1
    assert steps[1, "retrieve a file"].count == 2
    assert steps[1, "retrieve a session"].count == 1


def one_boot(tmp_path: Path, parameters: str) -> tuple[Seen, str]:
    script = f"{PREPARE}\nsee state\ntracekit kho > /var/lib/tracekit/state.txt\n"
    output = guest_run(
        Plan(OLD, (script,), cmdline=f"{BASE_CMDLINE} {parameters}"), tmp_path
    ).output
    return seen(output, "state"), (output / "state.txt").read_text()


def test_a_scratch_that_does_not_fit_disables_kho(tmp_path: Path) -> None:
    state, text = one_boot(tmp_path, "kho=on liveupdate=on kho_scratch=16M,8G,16M")
    assert state["state"]["kho"] == "off"
    assert "gave it up" in state["state"]["why"]
    assert state["cost"] is None and state["map"] == {}
    assert "not at hand" in text


@pytest.mark.matrix
def test_a_percentage(tmp_path: Path) -> None:
    state, text = one_boot(tmp_path, "kho=on kho_scratch=50%")
    assert state["state"]["kho"] == "on" and state["state"]["luo"] == "off"
    assert 0 < state["cost"]["total"] < 448 << 20
    assert "50% of what the kernel reserves" in text
