"""What recording costs: real handovers in the lab, armed and bare in turn, in one guest.

Run by ``make bench-lab``. The blackout is what the host sees on the console: from the line that is
printed before the jump to the first line of the new kernel's user space. Under software emulation
the seconds mean little; the ratios are what is stated in the README.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tracekit.lab.machine import Plan, Result, run

ROUNDS = 5
KERNEL = "7.3"
IMAGE = "$(ls /boot/vmlinuz-7.3*)"

WORK = """
cat > /tmp/work.py <<'EOF'
import glob, os, re, sys, time

def turns(count):
    (a, b), (c, d) = os.pipe(), os.pipe()
    if os.fork() == 0:
        for _ in range(count):
            os.read(a, 1)
            os.write(d, b'x')
        os._exit(0)
    for _ in range(count):
        os.write(b, b'x')
        os.read(c, 1)
    os.wait()

def written():
    stats = glob.glob('/sys/kernel/tracing/instances/tk/per_cpu/cpu*/stats')
    text = ''.join(open(path).read() for path in stats)
    return sum(map(int, re.findall(r'^(?:entries|overrun): (\\d+)', text, re.M)))

os.sched_setaffinity(0, {1})
for _ in range(5):
    before, start = written(), time.monotonic()
    turns(5000)
    print(sys.argv[1], time.monotonic() - start, written() - before)
EOF
"""
ARMED = f"""
cd /var/lib/tracekit
tracekit handover --kernel {IMAGE} --initrd /boot/initrd --discard -o armed-$(cat /lab/boot)
"""
BARE = f"""
kexec -s -l {IMAGE} --initrd=/boot/initrd --reuse-cmdline
PYTHONPATH=/opt/tracekit python3 -c "
from tracekit.capture.record.kexec import jump
print('jumping (bare)', flush=True)
jump('kexec')
"
"""
LAST = (
    WORK
    + """
python3 /tmp/work.py alone | sed 's/^/WORK: /'
cd /var/lib/tracekit
tracekit record --discard -o work --json > work.json 2>/tmp/log &
until grep -q '^recording into' /tmp/log || ! kill -0 $!; do sleep 0.2; done
python3 /tmp/work.py recorded | sed 's/^/WORK: /'
kill -INT $!
wait $!
"""
)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and range."""
    low, high = min(values), max(values)
    middle = statistics.median(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def blackouts(result: Result) -> tuple[list[float], list[float]]:
    """Seconds from the jump to user space: (armed, bare)."""
    armed: list[float] = []
    bare: list[float] = []
    left: tuple[int, list[float]] | None = None
    for line in result.console:
        if line.text.startswith("jumping"):
            left = (line.ns, bare if "bare" in line.text else armed)
        elif left is not None and line.text.startswith("@lab begin"):
            left[1].append((line.ns - left[0]) / 1e9)
            left = None
    return armed, bare


def work(result: Result, name: str) -> tuple[list[float], list[float]]:
    """(seconds, events a second) of every repetition of the work."""
    found = re.findall(
        rf"^WORK: {name} ([\d.]+) (\d+)$", "\n".join(line.text for line in result.console), re.M
    )
    return [float(s) for s, _ in found], [int(n) / float(s) for s, n in found]


def main() -> None:
    """Run the guest, print the ratios."""
    scripts = [ARMED, BARE] * ROUNDS + [LAST]
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "out"
        plan = Plan(KERNEL, tuple(scripts), timeout=1800)
        result = run(plan, output, lambda line: print(line.text, file=sys.stderr))
        recording = json.loads((output / "work.json").read_text())
    armed, bare = blackouts(result)
    alone, _ = work(result, "alone")
    recorded, rate = work(result, "recorded")
    print(f"blackout armed, s            {spread(armed)}")
    print(f"blackout bare, s             {spread(bare)}")
    print(f"  ratio of the medians       {statistics.median(armed) / statistics.median(bare):.3f}")
    print(f"5000 turns of a pipe, s      {spread(alone)}")
    print(f"  while recording            {spread(recorded)}")
    ratio = statistics.median(recorded) / statistics.median(alone)
    print(f"  ratio of the medians       {ratio:.2f}")
    print(f"events a second meanwhile    {spread(rate, 0)}")
    counts = (recording[f"events_{name}"] for name in ("written", "overwritten", "dropped"))
    print("written, overwritten, dropped", *(f"{count:,}" for count in counts))


if __name__ == "__main__":
    main()
