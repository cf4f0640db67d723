"""The lab's runs as plans: command lines, what each boot does, what QEMU must allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.errors import UsageError
from tracekit.lab.kernels import Kernel
from tracekit.lab.ways import Journey, carve_out, carved, plan

STOCK = Kernel("6.12.118+deb13-amd64", Path("/k"), Path("/d"), "trixie")
OWN = Kernel("7.3.4", Path("/k"))


def test_a_carve_out_lies_at_seven_eighths_of_low_memory() -> None:
    assert carve_out() == 0x70000000
    assert carve_out(1024) == 0x38000000
    assert carve_out(8192) == 0x70000000  # above 2 GiB there is a hole for devices
    assert carve_out(1000) % (2 << 20) == 0
    assert carved(2048, 8 << 20) == "memmap=16M$0x70000000"
    assert carved(2048, 768 << 10) == "memmap=1536K$0x70000000"


def test_a_kexec_over_kho() -> None:
    planned = plan(Journey(OWN, OWN, half=4 << 20, cpus=4, new_cpus=2, record=("--no-bpf",)))
    assert planned.cmdline == (
        "console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=nowatchdog"
        " kho=on reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB"
        " trace_instance=tk^traceoff@tkA nr_cpus=4"
    )
    assert planned.scripts == (
        "tracekit handover --kernel /boot/vmlinuz-7.3.4 --initrd /boot/initrd --append"
        " 'console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=nowatchdog nr_cpus=2'"
        " -o /var/lib/tracekit/session --no-bpf\n",
        "tracekit recover\n",
    )
    assert (planned.kernel, planned.cpus, planned.restarts, planned.panics) == (
        "7.3.4", 4, False, 0,
    )  # fmt: skip


def test_a_reboot_over_a_carve_out() -> None:
    planned = plan(Journey(STOCK, STOCK, "carveout", "reboot"))
    assert planned.cmdline == (
        "console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=nowatchdog memmap=16M$0x70000000"
        " trace_instance=tk^traceoff@0x70000000:8M nr_cpus=2"
    )
    assert planned.scripts[0].endswith("sync\nreboot -f\n")
    assert (planned.kernel, planned.restarts) == (f"debian:{STOCK.release}", True)


def test_a_panic_into_a_crash_kernel() -> None:
    planned = plan(Journey(OWN, STOCK, "carveout", "panic"))
    assert "crashkernel=256M" in planned.cmdline.split()
    loads, *_, sysrq, _, otherwise, last = planned.scripts[0].splitlines()
    assert loads.startswith(f"kexec -s -p /boot/vmlinuz-{STOCK.release} --initrd=/boot/initrd")
    assert "memmap=16M$0x70000000" in loads
    assert "then echo c > /proc/sysrq-trigger;" in sysrq
    assert (otherwise, last) == (
        "echo 1 > /proc/sys/vm/panic_on_oom", "dd if=/dev/zero of=/dev/null bs=2048M count=1",
    )  # fmt: skip
    assert (planned.panics, planned.restarts) == (1, False)
    assert planned.others == (f"debian:{STOCK.release}",)
    assert planned.scripts[1].startswith("test -e /proc/vmcore || ")
    assert "memmap" not in plan(Journey(OWN, OWN, "kho", "panic")).scripts[0]


@pytest.mark.parametrize(
    ("journey", "reason"),
    [
        (Journey(STOCK, STOCK, "carveout", "panic", new_cpus=2), "one CPU"),
        (Journey(STOCK, STOCK, "carveout", half=128 << 20), "two halves of 96M"),
        (Journey(STOCK, OWN, "carveout", "reboot"), "same kernel boots again"),
        (Journey(STOCK, STOCK, "carveout", "reboot", new_cpus=1), "as many CPUs"),
    ],
)
def test_what_cannot_be(journey: Journey, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        plan(journey)


def test_what_is_written_while_it_records_comes_before_the_jump() -> None:
    for way in ("kexec", "reboot", "panic"):
        script = plan(Journey(OWN, OWN, "kho", way, while_recording="echo MARK")).scripts[0]
        lines = script.splitlines()
        assert lines.index("echo MARK") > next(
            n for n, line in enumerate(lines) if line.startswith("tracekit record")
        )
