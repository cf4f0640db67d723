"""doctor on machines that have, or can have, a carve-out and no KHO."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import REGION, Machine, old_machine
from tracekit.capture.doctor.check import Check
from tracekit.capture.doctor.examine import carriers, examine
from tracekit.cli import main
from tracekit.sysroot import Sysroot

A = 0x70000000
CMDLINE = f"memmap={2 * REGION:#x}${A:#x} trace_instance=tk^traceoff@{A:#x}:64K"
IOMEM = f"00100000-{A - 1:08x} : System RAM\n{A:08x}-{A + 2 * REGION - 1:08x} : Reserved\n"
RELEASE = "6.12.118+deb13-amd64"
CONFIG = f"boot/config-{RELEASE}"
PROBES = b"CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_EVENTS=y\nCONFIG_KPROBE_EVENTS=y\n"
CLOCKS = "sys/devices/system/clocksource/clocksource0"
LOCKED = {"sys/kernel/security/lockdown": b"none [integrity] confidentiality\n"}


def stock(cmdline: str = CMDLINE, **files: bytes | None) -> Machine:
    """Debian's kernel; ``files`` replaces some of its files, None removes one."""
    content: dict[str, bytes] = {
        "proc/iomem": IOMEM.encode(),
        "proc/cpuinfo": b"flags\t\t: fpu constant_tsc nonstop_tsc\n",
        CONFIG: b"CONFIG_TRACING=y\nCONFIG_KEXEC_FILE=y\n" + PROBES,
        "sys/kernel/btf/vmlinux": b"",
        f"{CLOCKS}/available_clocksource": b"tsc hpet acpi_pm \n",
        f"{CLOCKS}/current_clocksource": b"tsc\n",
        f"lib/modules/{RELEASE}/build/Makefile": b"",
    }
    for rel, data in files.items():
        content.pop(rel, None)
        if data is not None:
            content[rel] = data
    machine = replace(old_machine(), cmdline=cmdline, release=RELEASE, files=content)
    return replace(machine, device={A: bytes(2 * REGION)})


def checks(tmp_path: Path, machine: Machine) -> dict[str, Check]:
    found = examine(Sysroot(machine.write(tmp_path / "root")), "/S")
    for check in found:
        assert (check.state == "ok") == (check.remedy == ""), check
    return {check.id: check for check in found}


def test_ready_without_kho(tmp_path: Path) -> None:
    found = checks(tmp_path, stock())
    assert {check.state for check in found.values()} == {"ok"}
    assert found["kho"].found.startswith("not needed")
    assert found["regions"].found == f"64 KiB at {A:#x}, 64 KiB at {A + REGION:#x}, a carve-out"
    assert found["other-region"].found == f"{A + REGION:#x} is free for the next kernel"
    assert "gives 64 KiB at" in found["dev-mem"].found and "kcore" not in found
    following = found["next-cmdline"].found
    assert f"trace_instance=tk^traceoff@{A + REGION:#x}:64K" in following
    assert "memmap=" in following and "kho" not in following


@pytest.mark.parametrize(
    ("machine", "check", "state", "part"),
    [
        (stock("quiet"), "regions", "failed", "no memmap="),
        (stock("quiet"), "kho", "ok", "this kernel has none"),
        (stock(CMDLINE.replace("0x20000", "0x10000")), "regions", "warning", "only one: 64 KiB"),
        (stock(CMDLINE.replace("0x20000", "0x10000")), "other-region", "warning", "no half"),
        (
            stock(**{"proc/iomem": b"00100000-7ffdbfff : System RAM\n"}),
            "regions", "failed", "which /proc/iomem calls System RAM: nothing keeps it",
        ),
        (
            stock(**{"proc/iomem": b"00100000-7fffffff : System RAM\n"
                     b"  6f000000-71ffffff : Crash kernel\n"}),
            "regions", "failed", "inside the memory of the crash kernel",
        ),
        (
            stock(f"{CMDLINE} trace_instance=mine@{A + REGION:#x}:64K"),
            "other-region", "warning", "trace instance mine",
        ),
        (stock(**LOCKED), "lockdown", "warning", "What is left: boot with trace_instance="),
        (stock(**{CONFIG: b"CONFIG_TRACING=y\n"}), "kexec-file", "warning", "cannot load"),
        (replace(stock(), device={}), "dev-mem", "unknown", "no "),
        (replace(stock(), device={A: b"short"}), "dev-mem", "failed", "it was cut off"),
    ],
)  # fmt: skip
def test_what_is_missing(
    tmp_path: Path, machine: Machine, check: str, state: str, part: str
) -> None:
    found = checks(tmp_path, machine)
    assert (found[check].state, part in found[check].found) == (state, True), found[check]


def test_the_carriers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = stock().write(tmp_path / "root")
    found, taken = carriers(Sysroot(root))
    assert taken == "carveout"
    assert {v.carrier: v.state for v in found} == {
        "kho": "no", "vmcore": "unknown", "carveout": "in use", "luo": "no", "luck": "no"
    }  # fmt: skip
    assert main(["doctor", "--sysroot", str(root), "--session", "/S", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (listed,) = [c for c in document["carriers"] if c["taken"]]
    assert listed["name"] == document["carrier"] == "carveout"
    assert listed["survives"] == ["kexec", "reboot", "panic"]
    assert "memmap=SIZE$ADDRESS" in listed["needs"] and "trace clock" in listed["cpu0"]


def test_a_machine_that_can_have_none(tmp_path: Path) -> None:
    arm = {"proc/cpuinfo": b"CPU implementer\t: 0x41\n", CONFIG: b"CONFIG_TRACING=y\n"}
    found, taken = carriers(Sysroot(stock("quiet", **arm).write(tmp_path / "root")))
    assert taken is None
    assert "no memmap= parameter" in next(v.why for v in found if v.carrier == "carveout")
