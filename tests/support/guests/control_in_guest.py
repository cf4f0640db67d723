"""Runs in a guest (see test_stock_probes.py): the tracers are changed, what was recorded is kept.

argv: the JSON file to write. Needs root and instance tk. The same things are done three times:
recorded by BPF with the headers that ship, by BPF with the kernel's own, and by kprobe events.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracekit.capture.record.instance import Instance, find_instance
from tracekit.capture.record.probes import define_kprobes, enable_kprobes
from tracekit.probes.headers import Headers, header_choices, installed_headers
from tracekit.probes.loader import load_probes
from tracekit.probes.records import KINDS, RECORD, Record, parse_compact, unpack
from tracekit.sysroot import Sysroot

TRACING = Path("/sys/kernel/tracing")
NAME = "other"
#: What a shell does to the tracers: each line by a process of its own, called ``change``.
CHANGES = """
cd /sys/kernel/tracing
mkdir instances/other
cd instances/other
echo 64 > buffer_size_kb
echo mono > trace_clock
echo nop > current_tracer
echo sched:sched_switch > set_event
echo 1 > events/sched/sched_process_exec/enable
echo 0 > options/overwrite
echo "a text of more than thirty-two bytes" > set_event 2>/dev/null || true
echo hello > trace_marker
cat per_cpu/cpu1/trace_pipe_raw & reader=$!
until [ "$(readlink /proc/$reader/exe)" = /usr/bin/cat ]; do sleep 0.1; done
sleep 0.5
kill $reader
wait $reader 2>/dev/null || true
: > free_buffer
: > trace
cd ../..
rmdir instances/other
echo 0 > tracing_on
echo 1 > tracing_on
echo 0 > instances/tk/events/sched/enable
"""


def change() -> None:
    """Run :data:`CHANGES` by tasks whose name is ``change``."""
    shell = Path("/tmp/change")  # the name of the task is that of the file
    if not shell.exists():
        shell.write_bytes(Path("/bin/sh").read_bytes())
        shell.chmod(0o755)
    subprocess.run([shell, "-euc", CHANGES], check=True)


def shown(record: Record) -> dict[str, Any]:
    kind = KINDS[record.kind]
    value = b"".join(v.to_bytes(8, "little") for v in record.values)
    return {
        "event": kind.event + ("_return" if record.returned else ""), "cpu": record.cpu,
        "seq": record.seq, "name": record.name, "driver": record.driver, "comm": record.comm,
        "value": value.partition(b"\0")[0].decode() if kind.text else "",
        "values": [v - (1 << 64) if v >> 63 else v for v in record.values],
    }  # fmt: skip


def printed(instance: Instance) -> list[dict[str, Any]]:
    """The records that were printed into the instance."""
    lines = instance.read("trace").splitlines()
    found = [re.search(r"^ *(.*)-\d+ +\[(\d+)\] .* bpf_trace_printk: (tk1 .*)", x) for x in lines]
    records = [(parse_compact(m[3]), m) for m in found if m]
    return [shown(record._replace(cpu=int(m[2]), comm=m[1])) for record, m in records if record]


def with_bpf(root: Sysroot, instance: Instance, headers: Sequence[Headers]) -> dict[str, Any]:
    begun = time.monotonic()
    with load_probes(root, instance=instance.name, headers=headers) as probes:
        took = time.monotonic() - begun
        instance.enable(["bpf_trace:bpf_trace_printk"])
        instance.write("tracing_on", "1")
        data = probes.poll(0)  # the two writes above
        change()
        data += probes.poll(200)
        instance.write("tracing_on", "0")
        return {
            "seconds": took, "probes": probes.describe(), "lost": probes.lost,
            "records": [shown(unpack(data, at)) for at in range(0, len(data), RECORD.size)],
            "counters": [
                shown(unpack(counters, at))
                for counters in (probes.counters(),) for at in range(0, len(counters), RECORD.size)
            ],
            "printed": printed(instance),
        }  # fmt: skip


def with_kprobe_events(root: Sysroot, instance: Instance) -> dict[str, Any]:
    described = define_kprobes(root, instance)
    instance.disable_all()
    instance.clear()
    enable_kprobes(instance)
    instance.write("tracing_on", "1")
    change()
    instance.write("tracing_on", "0")
    text = instance.read("trace")
    return {"probes": described, "text": text, "removed": instance.remove_kprobes()}


def main() -> None:
    root = Sysroot("/")
    instance = find_instance(root)
    uname = os.uname()
    installed = installed_headers(root, uname.release)
    found: dict[str, Any] = {
        "release": uname.release, "installed": installed,
        "choices": header_choices(root, uname.release, uname.machine),
    }  # fmt: skip
    found["own"] = with_bpf(root, instance, header_choices(root, "", uname.machine))
    if installed:
        instance.clear()
        found["kernels"] = with_bpf(root, instance, [installed])
    found["kprobe_events"] = with_kprobe_events(root, instance)
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
