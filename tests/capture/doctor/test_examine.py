"""doctor: each check over trees, from a machine that is ready to one that has nothing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import REGION, TKA, TKB, Machine, kho_files, old_machine
from tracekit.capture.doctor.check import Check
from tracekit.capture.doctor.examine import examine
from tracekit.cli import main
from tracekit.sysroot import Sysroot

PROBES = "CONFIG_BPF_SYSCALL=y\nCONFIG_BPF_EVENTS=y\nCONFIG_KPROBE_EVENTS=y\n"
CONFIG = (
    "CONFIG_KEXEC_HANDOVER=y\nCONFIG_KEXEC_FILE=y\n# CONFIG_KEXEC_SIG_FORCE is not set\n" + PROBES
)
CPUINFO = b"processor\t: 0\nflags\t\t: fpu constant_tsc nonstop_tsc\n"
MAPPED = f"[ 0.1] Tracing: mapped boot instance tk at physical memory {TKA:#018x} of size 0x10000\n"
KHO = "sys/kernel/debug/kho"
CLOCKS = "sys/devices/system/clocksource/clocksource0"
LIMIT = "proc/sys/kernel/kexec_load_limit_reboot"
CMDLINE = old_machine().cmdline


def config(text: str) -> bytes:
    return gzip.compress(text.encode())


def good_machine(**files: bytes | None) -> Machine:
    """A machine that is ready; ``files`` replaces some of its files, None removes one."""
    carried = kho_files({"tkA": (TKA, REGION), "tkB": (TKB, REGION)})
    content: dict[str, bytes] = {
        "proc/config.gz": config(CONFIG),
        "proc/cpuinfo": CPUINFO,
        "dmesg": MAPPED.encode(),
        f"{KHO}/out/scratch_phys": b"0x1000\n",
        f"{KHO}/out/scratch_len": b"0x1000\n",
        f"{KHO}/out/sub_fdts/memblock": carried[f"{KHO}/in/sub_fdts/memblock"],
        f"{CLOCKS}/available_clocksource": b"tsc hpet acpi_pm \n",
        f"{CLOCKS}/current_clocksource": b"tsc\n",
        "lib/modules/7.2.13/build/include/x.h": b"",
        "sys/kernel/btf/vmlinux": b"",
    }
    for rel, data in files.items():
        content.pop(rel, None)
        if data is not None:
            content[rel] = data
    regions = {TKA: bytes(REGION), TKB: bytes(REGION)}
    return replace(old_machine(), regions=regions, files=content)


def checks(tmp_path: Path, machine: Machine) -> dict[str, Check]:
    root = machine.write(tmp_path / "root")
    found = examine(Sysroot(root), "/var/lib/tracekit/S")
    assert len({check.id for check in found}) == len(found)
    for check in found:
        assert check.found
        assert (check.state == "ok") == (check.remedy == ""), check
    return {check.id: check for check in found}


def states(found: dict[str, Check], *but: str) -> set[str]:
    return {check.state for name, check in found.items() if name not in but}


def test_what_there_is_of_probes(tmp_path: Path) -> None:
    """A distribution's kernel without its headers, whose configuration lies with its modules."""
    machine = good_machine(
        **{
            "lib/modules/7.2.13/build/include/x.h": None, "proc/config.gz": None,
            "lib/modules/7.2.13/config": CONFIG.encode(),
        }
    )  # fmt: skip
    found = checks(tmp_path / "stock", machine)
    assert "no headers of 7.2.13" in found["headers"].found
    assert "tracekit has its own" in found["headers"].found
    assert found["probes"].found.startswith("BPF where BCC is installed")
    assert "control files and counters are seen, not their code" in found["probes"].found
    lab = config(CONFIG + "CONFIG_KPROBE_EVENTS_ON_NOTRACE=y\n")
    found = checks(tmp_path / "lab", good_machine(**{"proc/config.gz": lab}))
    assert "/lib/modules/7.2.13/build" in found["headers"].found
    assert "own code can be probed" in found["probes"].found
    unknown = {"proc/config.gz": None, "sys/bus/event_source/devices/kprobe/type": b"8\n"}
    found = checks(tmp_path / "unknown", good_machine(**unknown))
    assert "unless this kernel has" in found["probes"].found


def test_ready(tmp_path: Path) -> None:
    found = checks(tmp_path, good_machine())
    assert states(found) == {"ok"}
    assert f"tkA at {TKA:#x}, 64 KiB" in found["regions"].found
    assert f"tk on tkA at {TKA:#x}" in found["instance"].found
    assert found["other-region"].found.startswith("tkB is free")
    assert "holds every region" in found["kcore"].found
    following = found["next-cmdline"].found
    assert "trace_instance=tk^traceoff@tkB" in following
    assert "tracekit.session=/var/lib/tracekit/S" in following


@pytest.mark.parametrize("capture_name", ["handover-7.2-tsc", "handover-7.2-to-7.3-tsc"])
def test_a_real_machine_after_a_handover(capture: Callable[[str], Path], capture_name: str) -> None:
    root = Sysroot(capture(capture_name) / "new")
    found = {check.id: check for check in examine(root, "/S")}
    assert not [check for check in found.values() if check.state == "failed"]
    assert "tkA at 0x7d600000, 4096 KiB, tkB at 0x7d200000, 4096 KiB" in found["regions"].found
    assert found["kcore"].state == "ok"
    assert found["other-region"].found.startswith("tkA is free")
    assert found["clock"].state == "warning"  # the emulated CPU has no constant_tsc


@pytest.mark.parametrize(
    ("files", "check", "state", "part"),
    [
        ({"proc/config.gz": config("CONFIG_KEXEC_FILE=y\n")}, "kho", "failed", "no kexec handover"),
        ({"proc/config.gz": None}, "kexec-file", "unknown", "no config.gz"),
        ({"proc/config.gz": config("CONFIG_X=y\n")}, "kexec-file", "failed", "KEXEC_FILE"),
        (
            {"proc/config.gz": config(CONFIG + "CONFIG_KEXEC_SIG_FORCE=y\n")},
            "kexec-file", "warning", "signature",
        ),
        (
            {"proc/sys/kernel/kexec_load_disabled": b"1\n"},
            "kexec-file", "failed", "kexec_load_disabled is 1",
        ),
        (
            {"sys/kernel/security/lockdown": b"none [integrity] confidentiality\n"},
            "lockdown", "warning", "integrity",
        ),
        (
            {"sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"},
            "lockdown", "failed", "neither kcore nor tracefs",
        ),
        (
            {"proc/config.gz": config(CONFIG + "CONFIG_SECURITY_LOCKDOWN_LSM=y\n")},
            "lockdown", "unknown", "cannot be read",
        ),
        (
            {"sys/kernel/tracing/trace_clock": b"[local] global counter\n"},
            "clock", "warning", "no x86-tsc",
        ),
        ({"proc/cpuinfo": b"flags\t\t: fpu constant_tsc\n"}, "clock", "warning", "nonstop_tsc"),
        (
            {"dmesg": b"[ 9.9] tsc: Marking TSC unstable due to clocksource watchdog\n"},
            "clock", "warning", "Marking TSC unstable",
        ),
        (
            {f"{CLOCKS}/available_clocksource": b"hpet acpi_pm\n",
             f"{CLOCKS}/current_clocksource": b"hpet\n"},
            "clock", "warning", "keeps time with hpet (available: hpet acpi_pm)",
        ),
        ({f"{CLOCKS}/current_clocksource": b"hpet\n"}, "clock", "warning", "not with the TSC"),
        ({f"{CLOCKS}/current_clocksource": None}, "clock", "unknown", "current_clocksource"),
        ({"proc/cpuinfo": None}, "clock", "unknown", "no flags"),
        (
            {"proc/cmdline": f"{CMDLINE} tsc=unstable\n".encode()},
            "clock", "warning", "tsc=unstable on the command line",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} tsc=nowatchdog\n".encode()},
            "clock", "ok", "unwatched (tsc=nowatchdog)",
        ),
        ({LIMIT: b"0\n"}, "kexec-file", "failed", "kexec_load_limit_reboot is 0"),
        ({LIMIT: b"2\n"}, "kexec-file", "warning", "so many kernels"),
        ({LIMIT: b"-1\n"}, "kexec-file", "ok", "no signature"),
        ({LIMIT: b"none\n"}, "kexec-file", "unknown", "'none'"),
        (
            {LIMIT: b"0\n", "sys/kernel/kexec_loaded": b"1\n"},
            "kexec-file", "failed", "a kernel is loaded already",
        ),
        (
            {"proc/sys/kernel/kexec_load_limit_panic": b"0\n"},
            "kexec-file", "ok", "no signature",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} ramoops.mem_name=tkB\n".encode()},
            "other-region", "warning", "tkB: ramoops (ramoops.mem_name=tkB)",
        ),
        (
            {"sys/module/ramoops/parameters/mem_name": b"tkB\n"},
            "regions", "warning", "only one: tkA",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} ramoops.mem_name=tkA\n".encode()},
            "instance", "failed", "so is ramoops",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} trace_instance=mine@{TKA:#x}:64K\n".encode()},
            "instance", "failed", "trace instance mine",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} trace_instance=mine@{TKB:#x}:64K\n".encode()},
            "next-cmdline", "warning", "trace_instance=mine@",
        ),
        (
            {"proc/cmdline": f"{CMDLINE} elfcorehdr=0x1000\n".encode()},
            "kho", "failed", "crash kernel",
        ),
        (
            {"proc/cmdline": CMDLINE.replace("kho=on", "kho=off").encode()},
            "kho", "failed", "kho=off",
        ),
        ({"proc/config.gz": config("CONFIG_X=y\n")}, "probes", "warning", "no probes at all"),
        (
            {"proc/config.gz": config(CONFIG.replace("BPF_EVENTS", "X"))},
            "probes", "warning", "CONFIG_BPF_EVENTS is not set",
        ),
        (
            {"sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"},
            "probes", "warning", "confidentiality",
        ),
        ({"sys/kernel/btf/vmlinux": None}, "headers", "warning", "no BTF"),
        (
            {"lib/modules/7.2.13/build/include/x.h": None, "proc/sys/kernel/arch": b"s390x\n"},
            "headers", "warning", "no headers of 7.2.13, and tracekit has none for this",
        ),
        (
            {"lib/modules/7.2.13/build/include/x.h": None, "proc/sys/kernel/arch": b"s390x\n"},
            "probes", "warning", "kprobe events, not BPF: no headers",
        ),
        (
            {"dmesg": b"[ 0.0] reserve_mem: memblock allocation failed\n"},
            "regions", "failed", "allocation failed",
        ),
        (
            {f"{KHO}/out/sub_fdts/memblock": kho_files({"tkA": (TKA, REGION)})[
                f"{KHO}/in/sub_fdts/memblock"]},
            "regions", "failed", "but not tkB",
        ),
        (
            {"dmesg": b"[ 0.0] Failed to map boot instance tk to tkA\n"},
            "instance", "failed", "Failed to map",
        ),
        ({"proc/kcore": b"no core"}, "kcore", "failed", "not an ELF core"),
    ],
)  # fmt: skip
def test_what_is_missing(
    tmp_path: Path, files: dict[str, bytes | None], check: str, state: str, part: str
) -> None:
    found = checks(tmp_path, good_machine(**files))
    assert found[check].state == state
    assert part in found[check].found


def without_debugfs(machine: Machine) -> Machine:
    files = {rel: data for rel, data in machine.files.items() if "debug" not in rel}
    return replace(machine, files=files, kho=None)


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("", {"kho": "failed", "regions": "failed", "instance": "failed"}),
        ("kho=off", {"kho": "failed"}),
        ("reserve_mem=64K:4K:tkA kho=on", {"regions": "warning", "instance": "failed"}),
        (
            "reserve_mem=64K:4K:tkA trace_instance=tk@tkA",
            {"instance": "warning", "other-region": "warning", "next-cmdline": "warning"},
        ),
        (
            "memmap=64K$0x70000000 trace_instance=tk^traceoff@0x70000000:64K",
            {"regions": "warning", "instance": "ok"},
        ),
        ("trace_instance=other^traceoff@tkA", {"instance": "failed"}),
    ],
)
def test_command_lines(tmp_path: Path, cmdline: str, expected: dict[str, str]) -> None:
    machine = without_debugfs(replace(good_machine(), cmdline=cmdline))
    found = checks(tmp_path, machine)
    assert {name: found[name].state for name in expected} == expected


def test_kho_that_is_off_with_debugfs_to_see_it(tmp_path: Path) -> None:
    """A kernel may have KHO on by default; debugfs then shows it."""
    machine = replace(good_machine(), cmdline="")
    assert checks(tmp_path, machine)["kho"].state == "ok"
    machine = without_debugfs(machine)
    machine.files["sys/kernel/debug/x"] = b""
    assert checks(tmp_path / "off", machine)["kho"].state == "failed"


def test_kho_that_is_on_by_default(tmp_path: Path) -> None:
    default = f"{CONFIG}CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n"
    machine = replace(
        good_machine(**{"proc/config.gz": config(default)}),
        cmdline=CMDLINE.replace("kho=on ", ""),
    )
    found = checks(tmp_path / "shown", machine)["kho"]
    assert (found.state, "on by default" in found.found) == ("ok", True)
    machine = without_debugfs(machine)
    machine.files["sys/kernel/debug/x"] = b""
    found = checks(tmp_path / "hidden", machine)["kho"]
    assert (found.state, "on by default" in found.found) == ("warning", True)
    machine.files["proc/config.gz"] = config("")
    found = checks(tmp_path / "unknown", machine)["kho"]
    assert found.state == "unknown"


def test_the_next_kernel_records_on_a_clock_that_is_trusted(tmp_path: Path) -> None:
    clocks = b"[local] global mono x86-tsc\n"
    files: dict[str, bytes | None] = {"sys/kernel/tracing/instances/tk/trace_clock": clocks}
    found = checks(tmp_path / "good", good_machine(**files))["next-cmdline"]
    assert "trace_clock=x86-tsc" in found.found
    files["dmesg"] = (
        b"[ 9.9] clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable "
        b"because the skew is too large:\n"
    )
    distrusted = checks(tmp_path / "bad", good_machine(**files))
    assert distrusted["clock"].state == "warning"
    assert "trace_clock=mono " in distrusted["next-cmdline"].found


def test_a_region_that_kcore_lacks(tmp_path: Path) -> None:
    machine = good_machine()
    del machine.regions[TKB]
    found = checks(tmp_path, machine)["kcore"]
    assert (found.state, f"tkB at {TKB:#x}" in found.found) == ("failed", True)


def test_an_empty_tree(tmp_path: Path) -> None:
    """Nothing can be seen: no check may claim that it is all right, but for lockdown."""
    (tmp_path / "root").mkdir()
    found = {check.id: check for check in examine(Sysroot(tmp_path / "root"), "/S")}
    assert states(found, "lockdown", "next-cmdline") == {"failed", "warning", "unknown"}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = good_machine().write(tmp_path / "root")
    command = ["doctor", "--sysroot", str(root), "--session", "/S"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.err == "ready\n"
    assert "\x1b" not in told.out
    checked, listed = told.out.split("\ncarriers:\n")
    assert all(line.startswith("ok ") for line in checked.splitlines())
    assert "* in use   kho       tk is on tkA, which KHO hands on" in listed
    assert "survives: kexec, reboot, panic; CPU 0: " in listed
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["ready"], document["carrier"]) == (True, "kho")
    names = [c["name"] for c in document["carriers"]]
    assert names == ["kho", "vmcore", "carveout", "luo", "luck"]
    (root / "proc/cmdline").write_text("kho=off\n")
    assert main(command) == 1
    told = capsys.readouterr()
    assert "do: " in told.out
    assert "tracekit: not ready: " in told.err and "regions" in told.err
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is False
    assert set(document["checks"][0]) == {"id", "state", "found", "do"}


def test_this_very_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is, and whoever runs this: every check answers, and nothing is changed."""
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    states_found = {check["id"]: check["state"] for check in document["checks"]}
    assert code == (0 if document["ready"] else 1)
    assert document["ready"] == ("failed" not in states_found.values())
    assert {"root", "bcc", "systemd", "disk"} <= set(states_found)
    assert states_found["root"] == ("ok" if os.geteuid() == 0 else "warning")


@pytest.mark.parametrize(
    ("memory", "state", "found"),
    [("00000000-3fffffff", "warning", "608 MiB in 3 scratch areas, 59.4% of 1 GiB"),
     ("00000000-fffffffff", "ok", "608 MiB in 3 scratch areas, 0.9% of 64 GiB"),
     ("00000000-00000000", "ok", "608 MiB in 3 scratch areas")],
)  # fmt: skip
def test_what_kho_costs(tmp_path: Path, memory: str, state: str, found: str) -> None:
    files = {
        f"{KHO}/out/scratch_phys": b"0x73400000\n0x7fc00000\n0x4d400000\n",
        f"{KHO}/out/scratch_len": b"0x9800000\n0x0\n0x1c800000\n",
        "proc/iomem": f"{memory} : System RAM\n".encode(),
    }
    check = checks(tmp_path, good_machine(**files))["kho-cost"]
    assert (check.state, check.found) == (state, found)
    assert ("kho_scratch=" in check.remedy) == (state == "warning")


def test_what_kho_costs_where_it_is_off_or_hidden(tmp_path: Path) -> None:
    off = replace(good_machine(**{f"{KHO}/out/scratch_len": None}), cmdline="kho=off")
    assert checks(tmp_path / "off", off)["kho-cost"].found == "none: KHO is off"
    hidden = good_machine(**{f"{KHO}/out/scratch_len": None})
    assert checks(tmp_path / "hidden", hidden)["kho-cost"].state == "unknown"
