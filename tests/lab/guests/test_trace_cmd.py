"""Files that trace-cmd records on a live kernel, imported: each event is the one that it shows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import OLD, guest_run
from tracekit.cli import main
from tracekit.lab.machine import Plan

pytestmark = [pytest.mark.lab, pytest.mark.matrix]

EVENTS = "-e sched -e irq -e raw_syscalls"
# file -> the options of `trace-cmd record`
RECORDS = {
    "default": EVENTS,
    "plain": f"--compression none {EVENTS}",
    "zlib": f"--compression zlib {EVENTS}",
    "version-6": f"--file-version 6 {EVENTS}",
    "mono": f"-C mono {EVENTS}",
    "boot": f"-C boot {EVENTS}",
    "tsc": f"-C x86-tsc {EVENTS}",
    "global": f"-C global {EVENTS}",
    "buffers": "-e sched -B one -e irq -B two -e timer",
    "buffers-6": "--file-version 6 -e sched -B one -e irq -B two -e timer",
    "one-cpu": f"-M 2 {EVENTS}",
    "functions": "-p function -l 'schedule*' -e sched_switch",
    "graph": "-p function_graph -l 'schedule*' -l 'ksys_*'",
    "small": f"-b 4 -m 8 {EVENTS}",
    "date": f"--date {EVENTS}",
}
SCRIPT = "\n".join(
    [
        "cd /var/lib/tracekit",
        "echo '#!/bin/sh' > load.sh; echo 'for i in 1 2 3 4 5 6; do head -c 100 /proc/stat; done'"
        " >> load.sh; chmod +x load.sh",
        *(
            f"trace-cmd record -q -o {name}.dat {options} ./load.sh > /dev/null 2> {name}.err"
            f" || echo 'NO {name}'"
            for name, options in RECORDS.items()
        ),
        f"trace-cmd start {EVENTS} -B side -e timer > /dev/null",
        "./load.sh > /dev/null",
        "trace-cmd stop -B side -t",
        "trace-cmd extract -t -B side -o extracted.dat > /dev/null 2>&1 || echo NO extracted",
        "trace-cmd reset -t -B side",
        "trace-cmd split -i default.dat -o split.dat > /dev/null 2>&1 || echo NO split",
        "trace-cmd convert -i default.dat -o converted.dat --file-version 6 > /dev/null 2>&1",
        "for f in *.dat*; do trace-cmd report -t --raw-ts -i $f > $f.txt 2> $f.said; done",
    ]
)
LINE = re.compile(
    r"(?:(?P<buffer>\S+):)?\s+(?P<task>\S.*)-(?P<pid>\d+)\s+\[(?P<cpu>\d+)\]\s+(?:\D\S{4})?\s*"
    r"(?P<ts>[\d.]+): (?P<name>\S+):"
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_run(Plan(OLD, (SCRIPT,)), tmp_path_factory.mktemp("trace-cmd")).output


@pytest.mark.parametrize("name", [*RECORDS, "extracted", "split", "converted"])
def test_each_event_is_the_one_that_trace_cmd_shows(
    name: str, output: Path, tmp_path: Path
) -> None:
    file = output / f"{name}.dat"
    shown = [m for line in Path(f"{file}.txt").read_text().splitlines() if (m := LINE.match(line))]
    session = tmp_path / "s"
    assert main(["-q", "import", str(file), "-o", str(session)]) == 0
    table = tracekit.open(session).timeline.select(["pid", "cpu", "ts_raw", "event"])
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    ours = Counter((pid, cpu, ts, event.partition(":")[2]) for pid, cpu, ts, event in rows)
    theirs = Counter(
        (int(m["pid"]), int(m["cpu"]), int(m["ts"].replace(".", "")), m["name"]) for m in shown
    )
    if name == "graph":  # trace-cmd prints the call and the return of a leaf as one line
        assert theirs <= ours
        assert {event for *_, event in ours - theirs} == {"funcgraph_exit"}
    else:
        assert ours == theirs
    assert shown
