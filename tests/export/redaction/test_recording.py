"""A redacted export has the same events and numbers, and nothing of names, texts and addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tracekit
from tracekit.cli import main
from tracekit.export.redaction.recording import Redacted
from tracekit.export.redaction.texts import Names, overwrite_event
from tracekit.ftrace.columns import Payloads
from tracekit.ftrace.format import parse_format
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")
KERNELS = re.compile(
    r"<|swapper/|kworker/|ksoftirqd/|migration/|cpuhp/|rcu_|kthreadd|kdevtmpfs|oom_reaper|k\w+d\d*$|task-"
)


@pytest.fixture(scope="module")
def demo() -> Recording:
    return tracekit.open(DEMO)


@pytest.fixture(scope="module")
def shared(demo: Recording) -> Redacted:
    return Redacted.of(demo)


def test_numbers_and_times_are_the_same(demo: Recording, shared: Redacted) -> None:
    plain = ["ts_ns", "boot", "cpu", "pid", "event", "source", "flags", "preempt", "ts_raw"]
    assert shared.timeline.select(plain).equals(demo.timeline.select(plain))
    switches = [r.event("sched:sched_switch").drop_columns(["prev_comm", "next_comm", "comm"])
                for r in (demo, shared)]  # fmt: skip
    assert switches[0].equals(switches[1])


def secrets(recording: Recording) -> set[str]:
    """Names of tasks that are not the kernel's own, and files."""
    found = {c for comms in recording.comms for c in comms.values() if not KERNELS.match(c)}
    for event, column in (("sched:sched_process_exec", "filename"), ("printk:console", "msg")):
        if event in recording.event_names:
            found |= {t.strip() for t in recording.event(event)[column].to_pylist() if t}
    return {s for s in found if len(s) > 3}


@pytest.mark.parametrize("name", ["demo", "same-boot-wide-7.2", "one-region-7.3.4"])
def test_nothing_of_it_is_left(name: str, session: Callable[[str], Path]) -> None:
    recording = tracekit.open(DEMO if name == "demo" else session(name))
    shared = Redacted.of(recording)
    text = "\n".join(
        f"{row['comm']} {row['args']}"
        for row in shared.timeline.select(["comm", "args"]).to_pylist()
    )
    for event in shared.event_names:
        text += str(shared.event(event).to_pydict())
    words = set(re.findall(r"[^\s'\"=]+", text))
    labels = set(re.findall(r"(\w+)'?[=:]", text))  # a task may be called as an argument is
    assert secrets(recording) & words <= {*labels, "true"}
    assert not re.search(r"ffff[0-9a-f]{12}", text)
    addresses = [int(w) for w in re.findall(r"\d{15,20}", text)]
    assert not [a for a in addresses if 0xFFFF800000000000 <= a < (1 << 64) - 4096]


def test_the_same_name_is_the_same_task(demo: Recording, shared: Redacted) -> None:
    pairs = set(zip(demo.timeline["comm"].to_pylist(), shared.timeline["comm"].to_pylist(),
                    strict=True))  # fmt: skip
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    table = shared.event("sched:sched_switch")
    shown = dict(zip(demo.event("sched_switch")["next_comm"].to_pylist(),
                     table["next_comm"].to_pylist(), strict=True))  # fmt: skip
    assert set(shown.items()) <= pairs | {(k, k) for k in shown}


def test_the_same_address_has_the_same_number(demo: Recording, shared: Redacted) -> None:
    real = demo.event("initcall:initcall_start")["func"].to_pylist()
    given = shared.event("initcall:initcall_start")["func"].to_pylist()
    assert len(set(zip(real, given, strict=True))) == len(set(real)) == len(set(given))
    fields = shared.fields(shared.select(Filter(events=("initcall_start",))))
    assert [row["func"] for row in fields] == given


def test_a_filter_takes_real_names(demo: Recording, shared: Redacted) -> None:
    wanted = Filter(comms=("python3",), where="event ~ sched_*")
    rows = shared.select(wanted)
    assert len(rows) and np.array_equal(rows, demo.select(wanted))
    assert set(shared.table(rows)["comm"].to_pylist()) == {"task-3"}


def test_files_and_what_is_kept_for_the_next_time(
    session: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(session("same-boot-7.2"), tmp_path / "session")
    for words in ([], ["--redact"], ["--redact"], []):
        out = tmp_path / f"{len(words)}.parquet"
        assert main(["-q", "export", str(copy), "--format", "parquet", "-o", str(out), *words]) == 0
    plain, shared = (set(pq.read_table(tmp_path / f"{n}.parquet")["comm"].to_pylist())
                     for n in (0, 1))  # fmt: skip
    assert any(name and name.startswith("task-") for name in shared)
    assert not any(name and name.startswith("task-") for name in plain)
    events = tmp_path / "events"
    every = ["--format", "parquet", "--per-event", str(events), "--redact"]
    assert main(["-q", "export", str(copy), *every]) == 0
    table = pq.read_table(events / "sched.sched_switch.parquet")
    assert set(table["next_comm"].to_pylist()) <= {*shared, "swapper/0", "swapper/1"}


FORMAT = """name: e
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] path;\toffset:24;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] note;\toffset:28;\tsize:4;\tsigned:0;

print fmt: "%s", REC->comm
"""


def test_texts_are_overwritten_where_they_lie() -> None:
    fmt = parse_format(FORMAT, "s", "test")
    body = bytearray(8) + b"bash\0secret.....".ljust(16)[:16]
    body += (32 | 12 << 16).to_bytes(4, "little") + (12 | 6 << 16).to_bytes(4, "little")
    body += b"/home/anna/\0" + b"a\xffcde\0" + b"tail"
    data = np.frombuffer(b"edge" + bytes(body) + b"edge", np.uint8).copy()
    lengths = np.array([len(body)], np.uint32)
    overwrite_event(data, Payloads(bytes(data), np.array([4], np.uint64), lengths), fmt, Names())
    raw = data.tobytes()
    assert raw[:4] == raw[-4:] == b"edge" and raw[-8:-4] == b"tail"
    assert raw[12:28] == b"task-1".ljust(16, b"\0")
    assert raw[36:48] == b"redacted\0\0\0\0" and raw[48:54] == b"redac\0"


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF, 0x00FF0020, 0xFFFF0000])
def test_a_text_outside_its_record_is_left_alone(word: int) -> None:
    fmt = parse_format(FORMAT, "s", "test")
    body = bytearray(24) + word.to_bytes(4, "little") + word.to_bytes(4, "little")
    data = np.frombuffer(bytes(body) + b"other", np.uint8).copy()
    lengths = np.array([len(body)], np.uint32)
    overwrite_event(data, Payloads(bytes(data), np.array([0], np.uint64), lengths), fmt, Names())
    assert data.tobytes().endswith(b"other")


def test_without_a_format_only_the_header_stays() -> None:
    data = np.arange(24, dtype=np.uint8)
    payloads = Payloads(bytes(data), np.array([4], np.uint64), np.array([16], np.uint32))
    overwrite_event(data, payloads, None, Names())
    assert data.tolist() == [*range(12), *[0] * 8, *range(20, 24)]
