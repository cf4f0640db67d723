"""Speed and memory beside trace-cmd, on the same events, in the same run, as ratios.

`make bench`. With TRACEKIT_MILLION naming function-1m.tar.zst (1,075,635 events, mostly
ftrace:function) that capture is used. Without it, tests/captures/same-boot-wide-7.2 (101,519
events of 137 kinds, most of them distinct: far harder) is taken ten times, by trace-cmd too.

CPU time is compared as well, on that capture, on the wide one as it is, and on a million distinct
records made of it (distinct.py).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.chain import chain  # noqa: E402
from benchmarks.distinct import distinct  # noqa: E402
from benchmarks.measured import line, measured  # noqa: E402
from benchmarks.recovered import recovered, wide  # noqa: E402
from tests.support.repeated import repeat  # noqa: E402
from tests.support.unpack import unpack  # noqa: E402

TRACEKIT = [sys.executable, "-m", "tracekit", "-q"]
_RUNS = 3
_CPU_RUNS = 2
_BOOTS = 100
_COPIES, _WIDE = 10, 101_519  # copies of the wide capture, and its events


def capture(where: Path) -> Path:
    """The capture's `old` tree."""
    named = os.environ.get("TRACEKIT_MILLION")
    archive = Path(named) if named else ROOT / "tests" / "captures" / "same-boot-wide-7.2.tar.zst"
    unpack(archive, where)
    return where / archive.name.removesuffix(".tar.zst") / "old"


def run(command: list[str]) -> float:
    """Wall-clock seconds of a command, its output thrown away."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def encode(session: Path) -> None:
    """Child process: decoded events -> a Perfetto trace; prints events and CPU seconds of it."""
    import tracekit
    from tracekit.export.perfetto.write import write_perfetto
    from tracekit.timeline.filter import Filter

    recording = tracekit.open(session)
    target, seconds = Path(os.devnull), []
    for _ in range(_CPU_RUNS):
        recording.report()  # once more in each export, so it is taken off
        begun = time.process_time()
        recording.report()
        middle = time.process_time()
        write_perfetto(recording, target, Filter(), lambda _: None)
        seconds.append(time.process_time() - middle - (middle - begun))
    print(json.dumps({"events": len(recording), "seconds": min(seconds)}))


def best(*commands: list[str]) -> list[float]:
    """The best time of each command, taken in turns so that noise hits all alike."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(_RUNS):
        for at, command in enumerate(commands):
            times[at].append(run(command))
    return [min(t) for t in times]


def decode(session: Path) -> None:
    """Child process: region -> Arrow columns on one core; prints events, seconds, peak bytes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import tracekit
    from tracekit.ftrace.columns import Payloads, as_arrow, typed_columns
    from tracekit.ftrace.ring.layout import parse_layout
    from tracekit.ftrace.ring.page import read_pages
    from tracekit.timeline.boot import Buffer
    from tracekit.timeline.read_buffers import read_buffers
    from tracekit.timeline.rows import numpy_columns

    boot = tracekit.open(session).boots[0]
    types = b"".join(r.type for buffer in read_buffers(boot) for r in buffer.records)
    (common, _), *_ = Counter(memoryview(types).cast("H").tolist()).most_common(1)
    fmt = boot.format(common)
    assert fmt is not None

    def columns_of(buffer: Buffer) -> int:
        events = 0
        layout = parse_layout(buffer.data, "bench", boot.header_page)
        for cpu in layout.cpus:
            records = read_pages(
                buffer.data, cpu.pages, cpu.subbuf_size, cpu.cpu, "bench",
                boot.header_page, boot.record_header, in_turn=True,
            )  # fmt: skip
            raw = numpy_columns(records)
            arrays = {name: as_arrow(values) for name, values in raw.items()}
            mine = raw["type"] == common
            payloads = Payloads(buffer.data, raw["offset"][mine], raw["length"][mine])
            typed = typed_columns(payloads, fmt)
            events += len(arrays["ts"])
            assert all(len(column) == int(mine.sum()) for column in typed.values())
        return events

    times = []
    for _ in range(_RUNS * 2):
        begun = time.perf_counter()
        events = sum(columns_of(buffer) for buffer in read_buffers(boot))
        times.append(time.perf_counter() - begun)
    print(json.dumps({"events": events, "seconds": min(times), "event": fmt.full_name}))


def compare(session: Path, tree: Path, scratch: Path, times: int) -> None:
    """Whole processes beside trace-cmd, which reads the trace as often as the session has it."""
    report = ["sh", "-c", f"for i in $(seq {times}); do trace-cmd report '{tree}/trace.dat'; done"]
    export = [*TRACEKIT, "export", str(session), "--format"]
    parquet = [*export, "parquet", "-o", str(scratch / "out.parquet")]
    csv = [*export, "csv", "-o", str(scratch / "out.csv")]
    if shutil.which("trace-cmd") is None:
        line("trace-cmd report", "not installed", "")
        p, c = best(parquet, csv)
        line("export --format parquet", f"{p:.2f} s", "")
        line("export --format csv", f"{c:.2f} s", "")
        return
    kernel = [*TRACEKIT, "events", str(session), "--format", "kernel"]
    t, p, c, e = best(report, parquet, csv, kernel)
    (first,) = best(forgetting(session, parquet))
    line("trace-cmd report", f"{t:.2f} s", "")
    line("export --format parquet, decoded before", f"{p:.2f} s: {t / p:.2f}x", "3x")
    line("export --format parquet, the first time", f"{first:.2f} s: {t / first:.2f}x", "")
    line("export --format csv", f"{c:.2f} s: {t / c:.2f}x", "1x")
    line("events --format kernel", f"{e:.2f} s: {t / e:.2f}x", "")


def forgetting(session: Path, command: list[str]) -> list[str]:
    """The command, which has to decode: without the file that an earlier one derived."""
    return [
        "sh",
        "-c",
        'rm -f "$1"; shift; exec "$@"',
        "",
        str(session / "timeline.json"),
        *command,
    ]


def ratios(
    what: str, session: Path, traces: list[Path], events: int, scratch: Path, aim: str = "0.35"
) -> None:
    """CPU time beside that of trace-cmd on the same events, and wall-clock time.

    ``aim``: of the kernel's text.
    """
    names = " ".join(f"'{trace}'" for trace in traces)
    report = ["sh", "-c", f"for t in {names}; do trace-cmd report $t; done"]
    theirs, wall, _ = measured(report, _CPU_RUNS) if traces else (0.0, 0.0, 0)
    line(f"{what}: trace-cmd report", f"{theirs:.2f} s CPU, {wall:.2f} s", "")
    csv, parquet = scratch / "cpu.csv", scratch / "cpu.parquet"
    export = [*TRACEKIT, "export", str(session), "--format"]
    for form, command, wanted in (
        ("kernel", [*TRACEKIT, "events", str(session), "--format", "kernel"], aim),
        ("json", [*TRACEKIT, "events", str(session), "--format", "json"], "1"),
        ("csv", [*export, "csv", "-o", str(csv)], "0.4"),
        ("parquet", forgetting(session, [*export, "parquet", "-o", str(parquet)]), "0.45"),
    ):
        ours, wall, peak = measured(command, _CPU_RUNS)
        ratio = f"{ours / theirs:.2f}x CPU" if theirs else "trace-cmd: not there"
        each = f"{ours / events * 1e6:.2f} us an event, {peak >> 20} MiB"
        line(f"{what}: {form}, {ours:.2f} s CPU, {wall:.2f} s, {each}", ratio, wanted)


def distinct_records(scratch: Path) -> None:
    """A million distinct records of 137 kinds: see distinct.py."""
    once, plain = wide(scratch)
    traces = distinct(once, plain, scratch / "distinct", _COPIES)
    ratios("wide", once, [plain] if plain else [], _WIDE, scratch)
    ratios("distinct", scratch / "distinct", traces, _WIDE * _COPIES, scratch)


def many_boots(scratch: Path) -> None:
    """A chain of 100 boots: see chain.py."""
    unpack(ROOT / "tests" / "captures" / "handover-7.2-to-7.3-tsc.tar.zst", scratch)
    trees, two = scratch / "handover-7.2-to-7.3-tsc", scratch / "two"
    run([*TRACEKIT, "snapshot", "--sysroot", str(trees / "old"), "-o", str(two)])
    run([*TRACEKIT, "recover", "--sysroot", str(trees / "new"), str(two)])
    many = chain(two, scratch / "chain", _BOOTS)
    code = "import sys; from tracekit.session import Session; Session.open(sys.argv[1]).list()"
    report = [*TRACEKIT, "report", str(many)]
    anew = f"rm -f {shlex.quote(str(many))}/reports.*; {shlex.join(report)}"
    for what, command, aim in (
        ("opened, every name listed", [sys.executable, "-c", code, str(many)], "1 s"),
        ("report", ["sh", "-c", anew], "4 s CPU"),
        ("report, as it was kept", report, ""),
    ):
        cpu, wall, peak = measured(command, _CPU_RUNS)
        line(f"{_BOOTS} boots, {what}", f"{cpu:.2f} s CPU, {wall:.2f} s", aim)
        line(f"{_BOOTS} boots, {what}: peak memory", f"{peak >> 20} MiB", "")


def main() -> None:
    if len(sys.argv) > 2:
        {"decode": decode, "encode": encode}[sys.argv[1]](Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        tree = capture(scratch)
        times = 1 if os.environ.get("TRACEKIT_MILLION") else 10
        session = repeat(recovered(tree, scratch / "once"), scratch / "session", times)
        region = next(iter(json.loads((tree / "regions.json").read_text()).values()))[1] * times
        print(f"{'':<58} {'measured':>22}   aim")
        done = subprocess.run(
            [sys.executable, __file__, "decode", str(session)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        rate = found["events"] / found["seconds"] / 1e6
        what = f"region to columns, {found['events']:,} events, typed {found['event']}"
        line(what, f"{rate:.1f} M/s", "20 M/s")
        encoded = json.loads(
            subprocess.run(
                [sys.executable, __file__, "encode", str(session)],
                check=True, capture_output=True, text=True,
            ).stdout
        )  # fmt: skip
        rate = encoded["events"] / encoded["seconds"] / 1e6
        line("columns to a Perfetto trace", f"{rate:.1f} M/s", "2 M/s")
        compare(session, tree, scratch, times)
        (session / "timeline.json").unlink(missing_ok=True)
        export = [*TRACEKIT, "export", str(session), "--format", "parquet"]
        peak = measured([*export, "-o", str(scratch / "peak.parquet")]).peak
        line("peak memory of that export, against the region", f"{peak / region:.2f}x", "3x")
        traces = [tree / "trace.dat"] * times
        ratios(found["event"], session, traces, found["events"], scratch, "0.3")
        distinct_records(scratch)
        many_boots(scratch)
        h, d = best([*TRACEKIT, "--help"], [*TRACEKIT, "demo"])
        line("tracekit --help", f"{h:.2f} s", "0.2 s")
        line("tracekit demo", f"{d:.2f} s", "1 s")


if __name__ == "__main__":
    main()
