"""tracekit beside ``trace-cmd extract``: real handovers in the lab, the table of docs/compared.md.

    python benchmarks/compared.py [DIRECTORY]

Each is 7.2 to 7.3 with the same work. What the old kernel itself prints of the record (its
``trace`` file, read right before the jump) is what both are compared with, event by event. With
DIRECTORY what the guests left is kept there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tracekit.lab.machine import BASE_CMDLINE, Plan, run
from tracekit.session import Session

MARKS = 1000  # on each CPU, and as many hits of a kprobe event
REGIONS = "kho=on reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB"
PRELUDE = """
O=/var/lib/tracekit; S=$O/session; T=/sys/kernel/tracing; TK=$T/instances/tk
NEW=$(ls /boot/vmlinuz-7.3*)
"""
WORK = f"""
cat > /tmp/work.py <<'EOF'
import os
marker = os.open("/sys/kernel/tracing/instances/tk/trace_marker", os.O_WRONLY)
for cpu in (0, 1):
    os.sched_setaffinity(0, {{cpu}})
    for number in range({MARKS}):
        os.write(marker, b"mark %d %d" % (cpu, number))
        os.getppid()
EOF
echo 'p:compared/getppid __x64_sys_getppid' > $T/kprobe_events
tracekit record --no-bpf --clock CLOCK --events 'sched:*' --events 'compared:*' -o $S 2>/tmp/log &
until grep '^recording into' /tmp/log; do kill -0 $!; sleep 0.2; done
python3 /tmp/work.py
"""
TURNS = "tracekit handover --no-bpf --load-only --kernel $NEW --initrd /boot/initrd -o $S"
AGAIN = f"""kexec -s -l $NEW --initrd=/boot/initrd \
--append="{BASE_CMDLINE} {REGIONS} trace_instance=tk@tkA tracekit.session=$S" """
JUMP = """
tracekit record --last-snapshot
[ -e $O/kernel.txt ] || cat $TK/trace > $O/kernel.txt
sync
kexec -e
"""
RECOVER = "tracekit recover\n"
EXTRACT = """
mkdir $O/again
for cpu in 0 1; do cat $TK/per_cpu/cpu$cpu/stats > $O/again/$cpu; done
trace-cmd extract -B tk -o $O/trace.dat
trace-cmd report -i $O/trace.dat > $O/trace-cmd.txt
trace-cmd -V | sed -n 's/^\\(trace-cmd\\) version \\([0-9.]*\\).*/\\1 \\2/p' > $O/version
"""
#: Heading -> clock, the scripts of the boots; docs/compared.md says what the letters stand for.
RUNS = {
    "A": ("x86-tsc", (WORK + TURNS + JUMP, RECOVER + AGAIN + JUMP, EXTRACT)),
    "B": ("x86-tsc", (WORK + AGAIN + JUMP, RECOVER + EXTRACT)),
    "C": ("local", (WORK + AGAIN + JUMP, RECOVER + EXTRACT)),
}

_LINE = re.compile(
    r"(?:tk:)?\s*(?P<task>\S.*)-\d+\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<ts>[\d.]+): "
    r"(?P<event>\S+): *(?P<args>.*)"
)


class Event(NamedTuple):
    """One line, as a kernel or trace-cmd prints it; ``ts`` is the text, for comparing."""

    task: str
    cpu: int
    ts: str
    event: str
    args: str


def parse(lines: Iterable[str]) -> Iterator[Event | None]:
    """An event a line; None for an event of which not even the time was printed."""
    for line in lines:
        if found := _LINE.match(line):
            event = found["event"].replace("tracing_mark_write", "print")
            yield Event(found["task"], int(found["cpu"]), found["ts"], event, found["args"])
        elif "[UNKNOWN EVENT]" in line:
            yield None


def by_place(events: Iterable[Event | None]) -> dict[tuple[int, str, int], Event]:
    """By CPU, time, and which of those it is that have this time."""
    seen: Counter[tuple[int, str]] = Counter()
    found = {}
    for event in events:
        if event is not None:
            place = (event.cpu, event.ts)
            found[*place, seen[place]] = event
            seen[place] += 1
    return found


def compare(kernel: list[Event | None], tool: list[Event | None]) -> dict[str, object]:
    """Rows of the table: a tool's events beside the old kernel's."""
    truth, found = by_place(kernel), by_place(tool)
    both = [(truth[place], found[place]) for place in truth if place in found]
    marks = {event.args.rpartition("mark ")[2] for event in found.values() if "mark " in event.args}
    hits = sum(event.event == "getppid" for event in truth.values())
    on_0 = [event for event in found.values() if event.cpu == 0]
    return {
        "events recovered": len(tool),
        "of them shown on CPU 0": len(on_0),
        "of them shown without name, time and CPU": tool.count(None),
        "last event shown on CPU 0": on_0[-1].event if on_0 else "none",
        "markers": f"{len(marks)} of {2 * MARKS}",
        "hits of the kprobe event": f"{sum(o.event == n.event == 'getppid' for o, n in both)}"
        f" of {hits}",
        "**of the old kernel's own lines**": len(truth),
        "event's name right": sum(old.event == new.event for old, new in both),
        "another event's name": sum(old.event != new.event for old, new in both),
        "missing, or shown without time": len(truth) - len(both),
        "task's name right": sum(old.task == new.task for old, new in both),
        "another task's name": sum(new.task not in (old.task, "<...>") for old, new in both),
    }


def entries(place: Path, name: str) -> str:
    """What the kernel counts, CPU 0 + CPU 1."""
    texts = [(place / name.format(cpu)).read_text() for cpu in (0, 1)]
    return " + ".join(re.findall(r"^entries: (\d+)", text, re.M)[0] for text in texts)


def columns(output: Path) -> dict[str, dict[str, object]]:
    """Tool -> its column, from what a guest left."""
    session = output / "session"
    kernel = list(parse((output / "kernel.txt").read_text().splitlines()))
    argv = [sys.executable, "-m", "tracekit", "events", str(session), "--boot", "0"]
    ours = subprocess.run([*argv, "--format", "kernel"], check=True, capture_output=True, text=True)
    theirs = (output / "trace-cmd.txt").read_text("utf-8", "replace")
    stats = {
        "in the region at the last snapshot": entries(
            session / "boots/0/tracefs/instances/tk/per_cpu", "cpu{}/stats"
        ),
        "in the instance attached again": entries(output / "again", "{}"),
    }
    texts = {"tracekit": ours.stdout, (output / "version").read_text().strip(): theirs}
    return {tool: stats | compare(kernel, list(parse(t.splitlines()))) for tool, t in texts.items()}


def ids(session: Session, boot: int) -> dict[str, bytes]:
    """Event -> its id in one kernel."""
    base = f"boots/{boot}/tracefs/events/"
    names = [name for name in session.list(base) if name.endswith("/format")]
    return {
        name.removeprefix(base): re.findall(rb"^ID: (\d+)", session.read(name), re.M)[0]
        for name in names
    }


def moved(session: Path) -> str:
    """How many events have another id in the new kernel."""
    opened = Session.open(session)
    old, new = ids(opened, 0), ids(opened, 1)
    both = old.keys() & new.keys()
    other = sum(old[name] != new[name] for name in both)
    return f"{len(both)} events that both kernels have, {other} of them with another id"


def main() -> None:
    """Run the guests, print the table."""
    table: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(sys.argv[1] if sys.argv[1:] else scratch)
        for name, (clock, boots) in RUNS.items():
            scripts = tuple((PRELUDE + boot).replace("CLOCK", clock) for boot in boots)
            output = base / name
            run(Plan("7.2", scripts), output, lambda line: print(line.text, file=sys.stderr))
            for tool, column in columns(output).items():
                table[f"{name}: {tool}"] = column
        other_ids = moved(base / "A" / "session")
    print("| |", " | ".join(table), "|")
    print("|---", "--:|" * len(table), sep="|")
    for row in next(iter(table.values())):
        print(f"| {row} |", " | ".join(str(column[row]) for column in table.values()), "|")
    print(f"\n{other_ids}")


if __name__ == "__main__":
    main()
