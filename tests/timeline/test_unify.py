"""One event in several kernels."""

from __future__ import annotations

from pathlib import Path

import tracekit
from tests.support.bpf_records import FORMATS, write_session
from tests.support.sessions.live import systemd_boots


def test_an_argument_whose_type_the_next_kernel_changed_is_text(tmp_path: Path) -> None:
    boots = systemd_boots(shutdown=False, marked=False)
    rel = "events/sched/sched_process_exec/format"
    text = FORMATS[f"sys/kernel/tracing/{rel}"]
    boots[1].files[f"tracefs/{rel}"] = text.replace("pid_t old_pid;", "__data_loc char[] old_pid;")
    table = tracekit.open(write_session(tmp_path / "s", boots)).event("sched:sched_process_exec")
    assert table["boot"].to_pylist() == [0, 0, 1, 1]
    assert table["old_pid"].to_pylist()[:2] == ["300", "1"]
    assert table["pid"].to_pylist() == [300, 1, 1, 400]
