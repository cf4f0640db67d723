"""Runs in a guest (see test_stock_probes.py): the tracers are changed while something records.

argv: ``change`` to change them, as a shell does; or the JSON file to write what kprobe events
recorded of the same changes. Needs root and instance tk.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracekit.capture.record.instance import Instance, find_instance
from tracekit.capture.record.probes import define_kprobes, enable_kprobes
from tracekit.sysroot import Sysroot

#: By a task called ``change``, but for mkdir, rmdir and cat.
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
cat per_cpu/cpu1/trace_pipe_raw > /dev/null & reader=$!
until [ -L /proc/$reader/fd/3 ]; do sleep 0.1; done
kill $reader
wait $reader 2>/dev/null || true
: > free_buffer
: > trace
cd ../..
rmdir instances/other
echo 0 > tracing_on
echo 1 > tracing_on
echo 0 > instances/tk/events/irq/enable
"""


def change() -> None:
    """Run :data:`CHANGES`."""
    shell = Path("/tmp/change")  # the name of the task is that of the file
    shell.write_bytes(Path("/bin/sh").read_bytes())
    shell.chmod(0o755)
    subprocess.run([shell, "-euc", CHANGES], check=True)


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
    if sys.argv[1] == "change":
        change()
        return
    root = Sysroot("/")
    found = with_kprobe_events(root, find_instance(root))
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
