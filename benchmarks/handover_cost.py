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

import tracekit
from tracekit.lab.machine import Plan, Result, run

ROUNDS = 4
KERNEL = "7.3"
IMAGE = "$(ls /boot/vmlinuz-7.3*)"

WORK = """
cat > /tmp/work.py <<'EOF'
import os, sys, time
def turns(count):
    (a, b), (c, d) = os.pipe(), os.pipe()
    if os.fork() == 0:
        for _ in range(count):
            os.read(a, 1)
            os.write(d, b'x')
        os._exit(0)
    start = time.monotonic()
    for _ in range(count):
        os.write(b, b'x')
        os.read(c, 1)
    took = time.monotonic() - start
    os.wait()
    return took
for _ in range(3):
    print(sys.argv[1], turns(3000))
EOF
"""
ARMED = f"""
tracekit handover --kernel {IMAGE} --initrd /boot/initrd -o /var/lib/tracekit/armed-$(cat /lab/boot)
"""
BARE = f"""
kexec -s -l {IMAGE} --initrd=/boot/initrd --reuse-cmdline
python3 -c "
from tracekit.capture.kexec import jump
print('jumping (bare)', flush=True)
jump('kexec')
"
"""
LAST = (
    WORK
    + """
python3 /tmp/work.py alone | sed 's/^/WORK: /'
tracekit record -o /var/lib/tracekit/work --json > /var/lib/tracekit/work.json 2>/tmp/log &
until grep -q '^recording into' /tmp/log || ! kill -0 $!; do sleep 0.2; done
python3 /tmp/work.py recorded | sed 's/^/WORK: /'
kill -INT $!
wait $!
"""
)


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


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


def main() -> None:
    """Run the guest, print the ratios."""
    scripts = [ARMED, BARE] * ROUNDS + [LAST]
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "out"
        plan = Plan(KERNEL, tuple(scripts), timeout=1800)
        result = run(plan, output, lambda line: print(line.text, file=sys.stderr))
        armed, bare = blackouts(result)
        own = []
        for session in sorted(output.glob("armed-*")):
            phases = tracekit.open(session).report().phases
            known = {p.name: p.duration_ns for p in phases}
            own.append((known.get("device shutdown") or 0) / 1e6)
        work: dict[str, list[float]] = {}
        for line in result.console:
            if m := re.fullmatch(r"WORK: (\w+) ([\d.]+)", line.text):
                work.setdefault(m[1], []).append(float(m[2]))
        recording = json.loads((output / "work.json").read_text())
    print(f"blackout armed, s            {spread(armed)}")
    print(f"blackout bare, s             {spread(bare)}")
    print(f"  ratio of the medians       {statistics.median(armed) / statistics.median(bare):.3f}")
    print(f"device shutdown armed, ms    {spread(own)}")
    print(f"3000 turns of a pipe, s      {spread(work['alone'])}")
    print(f"  while recording            {spread(work['recorded'])}")
    slower = statistics.median(work["recorded"]) / statistics.median(work["alone"])
    print(f"  ratio of the medians       {slower:.2f}")
    rate = recording["events_written"] / recording["seconds"]
    print(f"recorded, events/s           {rate:,.0f}, lost {recording['events_overwritten']}")


if __name__ == "__main__":
    main()
