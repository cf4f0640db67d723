"""Runs in a guest (see test_probes.py): each probed subject happens, what was recorded is written.

argv: the JSON file to write. Needs root, instance tk, ``liveupdate=on``, kexec-tools, the lab's
/boot.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tracekit.capture.record.instance import Instance, find_instance
from tracekit.capture.record.probes import define_kprobes
from tracekit.probes.headers import installed_headers
from tracekit.probes.kprobes import plan_kprobes
from tracekit.probes.loader import Probes, load_probes
from tracekit.probes.prepare import prepare_probes
from tracekit.probes.records import KINDS, RECORD, Record, parse_compact, unpack
from tracekit.sysroot import Sysroot

NAME, TOKEN, PRESERVED = "probe-test", 0x1234, 3 << 20
CALLS = 20_000  # two records each, for a BPF ring buffer of some 27,000
CHANGES = {"buffer_size_kb": "64", "trace_clock": "mono", "tracing_on": "0"}
TRACING, KPROBES = Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/kprobes/list")


def load_kernel() -> None:
    """Load a kernel, as for a kexec that does not come."""
    image = f"/boot/vmlinuz-{os.uname().release}"
    argv = ["kexec", "-s", "-l", image, "--initrd=/boot/initrd", "--append=console=ttyS0"]
    subprocess.run(argv, check=True)


def change_an_instance() -> None:
    """Make an instance, resize it and change what else is probed, remove it."""
    place = TRACING / "instances" / NAME
    place.mkdir()
    for file, text in CHANGES.items():  # not by this process: the recorder's own are left out
        subprocess.run(["sh", "-c", f"echo {text} >> {place / file}"], check=True)
    (place / "trace").write_text(" ")
    place.rmdir()


def preserve_a_file() -> None:
    """A LUO session with one memfd: include/uapi/linux/liveupdate.h."""
    device = os.open("/dev/liveupdate", os.O_RDWR)
    create = bytearray(struct.pack("<Ii64s", 72, -1, NAME.encode()))
    fcntl.ioctl(device, 0xBA00, create)
    session = struct.unpack_from("<Ii", create)[1]
    memory = os.memfd_create("data", 0)
    os.write(memory, b"x" * PRESERVED)
    fcntl.ioctl(session, 0xBA40, bytearray(struct.pack("<IiQ", 16, memory, TOKEN)))
    for file in (session, device, memory):
        os.close(file)  # what was preserved is let go again


def useless_loads(count: int) -> None:
    """Calls of kexec_file_load() that fail at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(count):
        libc.syscall(320, -1, -1, 0, None, 0x100)


def records(data: bytes) -> list[Record]:
    return [unpack(data, at) for at in range(0, len(data), RECORD.size)]


def shown(record: Record) -> dict[str, Any]:
    event = KINDS[record.kind].event + ("_return" if record.returned else "")
    return {
        "event": event, "seq": record.seq, "cpu": record.cpu, "name": record.name,
        "values": [v - (1 << 64) if v >> 63 else v for v in record.values],
        "ns": record.ns, "duration_ns": record.duration_ns, "driver": record.driver,
    }  # fmt: skip


def printed(instance: Instance) -> list[dict[str, Any]]:
    """The records that were printed into the instance; the CPU is that of the line."""
    found = []
    for line in instance.read("trace").splitlines():
        if printed := re.search(r" \[(\d+)\] .* bpf_trace_printk: (tk1 .*)", line):
            record = parse_compact(printed[2])
            assert record is not None, line
            found.append(shown(record._replace(cpu=int(printed[1]))))
    return found


def overload(probes: Probes) -> dict[str, int]:
    """More records than there is room for, on one CPU, and nobody reads."""
    os.sched_setaffinity(0, {0})
    useless_loads(1)
    before = records(probes.poll(100))[-1].seq
    lost_before = probes.lost
    useless_loads(CALLS)
    kept = len(records(probes.poll(100)))
    lost = probes.lost - lost_before
    useless_loads(1)
    after = records(probes.poll(100))[0].seq
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    return {"kept": kept, "lost": lost, "numbered": after - before - 1}


def with_bpf(root: Sysroot, instance: Instance) -> dict[str, Any]:
    with load_probes(prepare_probes(root)) as probes:
        instance.enable(["bpf_trace:bpf_trace_printk"])
        instance.write("tracing_on", "1")
        change_an_instance()
        preserve_a_file()
        load_kernel()
        found: dict[str, Any] = {
            "records": [shown(record) for record in records(probes.poll(200))],
            "counters": [shown(record) for record in records(probes.counters())],
            "kprobe_events": (TRACING / "kprobe_events").read_text(),
        }
        instance.write("tracing_on", "0")
        found |= {"printed": printed(instance), "lost": probes.lost}
        return found | {"overload": overload(probes), "probes": probes.describe()}


def with_kprobe_events(root: Sysroot, instance: Instance) -> dict[str, Any]:
    lines = plan_kprobes(root).lines
    described = define_kprobes(root, instance)
    refused = [m for m in described["missing"] if "refused" in m["reason"]]
    instance.clear()
    instance.enable(["tracekit:*"])
    instance.write("tracing_on", "1")
    load_kernel()
    instance.write("tracing_on", "0")
    trace = instance.read("trace")
    return {"lines": lines, "refused": refused, "removed": instance.remove_kprobes(), "text": trace}


def killed(root: Sysroot) -> dict[str, Any]:
    """What is left of a process that had loaded the probes and was killed.

    They were compiled with the kernel's own headers, unlike the others.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        installed = installed_headers(root, os.uname().release)
        load_probes(prepare_probes(root, headers=[installed] if installed else ()))
        os.write(writer, str(len(KPROBES.read_text().splitlines())).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    for _ in range(100):  # the kernel lets go of them a little later
        if not KPROBES.read_text():
            break
        time.sleep(0.1)
    return {
        "while_loaded": int(os.read(reader, 20)), "status": status, "left": KPROBES.read_text(),
        "kprobe_events": (TRACING / "kprobe_events").read_text(),
    }  # fmt: skip


def main() -> None:
    root = Sysroot("/")
    instance = find_instance(root)
    found = {"bpf": with_bpf(root, instance), "kprobe_events": with_kprobe_events(root, instance)}
    found["again"] = {"compiled": prepare_probes(root).compiled}
    Path(sys.argv[1]).write_text(json.dumps(found | {"killed": killed(root)}))


if __name__ == "__main__":
    main()
