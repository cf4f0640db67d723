"""The kprobe events that stand in for BPF, as the lines the kernel takes."""

from __future__ import annotations

import platform

import pytest

from tests.support.traceable_kernels import BTF, kernel
from tracekit.probes.kernel import ProbedKernel
from tracekit.probes.kprobes import kprobe_plan
from tracekit.probes.records import KINDS


@pytest.fixture(autouse=True)
def _x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def names(dentry: str) -> str:
    """The names of a file and of five directories above it."""
    places = [f"{'+24(' * i}{dentry}{')' * i}" for i in range(6)]
    labels = ("file", "in1", "in2", "in3", "in4", "in5")
    return " ".join(f"{x}=+0(+40({at})):string" for x, at in zip(labels, places, strict=True))


NAMED = "device=+0(+0($arg1)):string driver=+0(+0(+104($arg1))):string"
GOLDEN = f"""\
p:tracekit/load __x64_sys_kexec_file_load flags=+72($arg1):x64
r:tracekit/load_return __x64_sys_kexec_file_load ret=$retval:s32
p:tracekit/load_segment kimage_load_segment index=$arg2:s32
r:tracekit/load_segment_return kimage_load_segment ret=$retval:s32
p:tracekit/reboot __x64_sys_reboot cmd=+96($arg1):x64
r:tracekit/reboot_return __x64_sys_reboot ret=$retval:s32
p:tracekit/kernel_kexec kernel_kexec
r:tracekit/kernel_kexec_return kernel_kexec ret=$retval:s32
p:tracekit/device_shutdown device_shutdown
r:tracekit/device_shutdown_return device_shutdown
p:tracekit/machine_shutdown machine_shutdown
r:tracekit/machine_shutdown_return machine_shutdown
p:tracekit/machine_kexec machine_kexec start=+24($arg1):x64
p:tracekit/kmsg_dump kmsg_dump_desc reason=$arg1:s32
r:tracekit/kmsg_dump_return kmsg_dump_desc
p:tracekit/notifiers blocking_notifier_call_chain chain=$arg1:symbol action=$arg2:u64
r:tracekit/notifiers_return blocking_notifier_call_chain ret=$retval:s32
p:tracekit/shutdown_pci_device_shutdown pci_device_shutdown {NAMED} bus_master=+1240($arg1):b1@5/8
r:tracekit/shutdown_pci_device_shutdown_return pci_device_shutdown {NAMED} \
bus_master=+1240($arg1):b1@5/8
p:tracekit/shutdown_serio_shutdown serio_shutdown {NAMED}
r:tracekit/shutdown_serio_shutdown_return serio_shutdown {NAMED}
p:tracekit/add_subtree kho_add_subtree name=+0($arg1):string address=$arg2:x64 size=$arg3:u64
r:tracekit/add_subtree_return kho_add_subtree ret=$retval:s32
p:tracekit/preserve_file luo_preserve_file session=-88($arg1):string token=$arg2:x64 fd=$arg3:s32
r:tracekit/preserve_file_return luo_preserve_file ret=$retval:s32
p:tracekit/instance_mkdir tracefs_syscall_mkdir instance=+0(+40($arg3)):string
r:tracekit/instance_mkdir_return tracefs_syscall_mkdir ret=$retval:s32
p:tracekit/tracefs_write vfs_write {names("+72($arg1)")} \
count=$arg3:u64 buffer=+u0($arg2):ustring magic=+96(+24(+32($arg1))):x64
p:tracekit/tracefs_open vfs_open {names("+8($arg1)")} \
flags=+40($arg2):x32 magic=+96(+24(+48(+8($arg1)))):x64
p:tracekit/tracefs_truncate vfs_open {names("+8($arg1)")} \
flags=+40($arg2):x32 magic=+96(+24(+48(+8($arg1)))):x64
p:tracekit/tracefs_close __fput {names("+72($arg1)")} \
magic=+96(+24(+32($arg1))):x64
"""


def test_lines_of_a_kernel() -> None:
    """Linux 7.2.13 took every one of these lines."""
    assert kprobe_plan(kernel()).lines == tuple(GOLDEN.splitlines())


def test_what_the_whole_system_does_has_a_filter() -> None:
    """Without one every write of every process would be recorded."""
    plan = kprobe_plan(kernel())
    general = [
        line for line in plan.lines if line.split()[1] in ("vfs_write", "vfs_open", "__fput")
    ]
    assert list(plan.filters) == general and len(general) == 4
    for line, (event, wanted) in plan.filters.items():
        assert line.startswith(f"p:tracekit/{event} ")
        assert wanted.startswith("magic == 0x74726163 && ")
    wanted = dict(plan.filters.values())
    assert 'file != "trace_marker"' in wanted["tracefs_write"]
    assert "flags & 512" in wanted["tracefs_truncate"]


def test_the_kernel_takes_arguments_of_63_characters() -> None:
    """MAX_ARGSTR_LEN of kernel/trace/trace_probe.h; what is behind the '='."""
    for line in kprobe_plan(kernel()).lines:
        assert max((len(a.partition("=")[2]) for a in line.split()[2:]), default=0) <= 63


def test_every_event_is_probed_or_missing() -> None:
    plan = kprobe_plan(kernel())
    probed = {event for event, _ in plan.probes}
    missing = {m.event: m for m in plan.missing}
    assert probed.isdisjoint(missing)
    assert probed | set(missing) == {kind.event for kind in KINDS.values()}
    assert all(m.reason for m in missing.values())
    assert missing["kexec:kernel_restart_prepare"].reason.startswith("not in this kernel")
    assert "CONFIG_KPROBE_EVENTS_ON_NOTRACE" in missing["ring_buffer:resize"].reason
    assert "too many" in missing["kho:preserve"].reason
    assert "notifier:notifier_run" in missing["kexec:notifier"].reason
    # there is such a function, but only one that may not be probed
    assert missing["kexec:stop_other_cpus"].reason.startswith("native_stop_other_cpus: ")


def test_without_btf_what_needs_no_offset_is_left() -> None:
    plan = kprobe_plan(kernel(btf=None))
    assert "p:tracekit/shutdown_pci_device_shutdown pci_device_shutdown" in plan.lines
    assert "p:tracekit/machine_kexec machine_kexec" in plan.lines
    assert "p:tracekit/reboot __x64_sys_reboot cmd=+96($arg1):x64" in plan.lines
    reasons = {m.event: m.reason for m in plan.missing}
    for event in ("device:shutdown names", "tracefs:write", "tracefs:close"):
        assert "CONFIG_DEBUG_INFO_BTF" in reasons[event]


def test_damaged_btf_is_said_and_does_without() -> None:
    plan = kprobe_plan(kernel(btf=BTF[:500]))
    names = next(m for m in plan.missing if m.event == "device:shutdown names")
    assert "/sys/kernel/btf/vmlinux" in names.reason and "expected" in names.reason


def test_blacklisted_functions_are_not_probed() -> None:
    plan = kprobe_plan(kernel(blacklist=("machine_kexec",)))
    assert not any("machine_kexec" in line for line in plan.lines)
    missing = {m.event: m.reason for m in plan.missing}
    assert "blacklist" in missing["kexec:machine_kexec"]


def test_a_damaged_line_of_kallsyms_is_left_out() -> None:
    lines = "ffffffff81000100 T one\nfffff\x8a T two\n T three\n" + "f" * 5000 + " T four\n"
    assert ProbedKernel.parse(lines, "").addresses == {"one": 0xFFFFFFFF81000100}


def test_describe_moves_what_the_kernel_refused() -> None:
    plan = kprobe_plan(kernel())
    refused = {line: "Invalid argument" for line in plan.lines if "kernel_kexec" in line}
    described = plan.describe(refused)
    assert described["mode"] == "kprobes" and described["version"] == 1
    assert "kexec:kernel_kexec" not in {probe["event"] for probe in described["probes"]}
    assert "kexec:reboot" in {probe["event"] for probe in described["probes"]}
    reasons = [m["reason"] for m in described["missing"] if m["event"] == "kexec:kernel_kexec"]
    assert len(reasons) == 2 and all("Invalid argument" in reason for reason in reasons)
