"""Output that goes wrong, terminals that are small, and text that wants to steer them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.session_trees import make_session, two_cpus
from tracekit.cli import main

TRACEKIT = f"{sys.executable} -m tracekit"


def bash(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'tracekit() {{ {TRACEKIT} "$@"; }}\n{line}'],
        capture_output=True, text=True, env={**os.environ, **env}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def path(session: Callable[[str], Path]) -> Path:
    return session("handover-7.2-tsc")


def test_a_reader_that_goes_away_leaves_exit_code_0(path: Path) -> None:
    done = bash(f"tracekit events {path} | head -n 2 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("command", ["events", "report", "report --json"])
def test_a_full_disk_is_said(path: Path, command: str) -> None:
    name, *options = command.split()
    done = bash(f"tracekit {name} {path} {' '.join(options)} > /dev/full")
    assert done.returncode == 3
    assert done.stderr == "tracekit: No space left on device\n"


def test_a_closed_stdout_is_no_traceback(path: Path) -> None:
    assert "Traceback" not in bash(f"tracekit report {path} >&-").stderr


def test_a_stream_without_unicode(path: Path) -> None:
    done = bash(f"tracekit report {path}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "7.2.13" in done.stdout


@pytest.mark.parametrize("columns", ["60", "72", "80", "200"])
def test_numbers_are_never_cut(path: Path, columns: str) -> None:
    done = bash(f"script -qec '{TRACEKIT} report {path}' /dev/null", COLUMNS=columns, NO_COLOR="1")
    assert done.returncode == 0
    for number in ("24,085", "28,019", "52,104", "ms", "µs"):
        assert number in done.stdout


def test_a_pipe_and_a_link_stay_what_they_are(path: Path, tmp_path: Path) -> None:
    fifo, link, real = tmp_path / "fifo", tmp_path / "link", tmp_path / "real"
    os.mkfifo(fifo)
    done = bash(f"tracekit export {path} --format csv -o {fifo} & head -n 1 {fifo}; wait")
    assert done.stdout.startswith('"ts_ns"')
    assert fifo.is_fifo()
    link.symlink_to(real)
    assert main(["-q", "export", str(path), "--format", "csv", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert real.stat().st_size > 1000
    assert main(["-q", "export", str(path), "--format", "parquet", "-o", str(fifo)]) == 2
    assert fifo.is_fifo()


def test_csv_to_stdout(path: Path) -> None:
    done = bash(f"tracekit export {path} --format csv -o - --event machine_kexec")
    assert len(done.stdout.splitlines()) == 2


def test_being_terminated_leaves_nothing_half_written(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    code = (
        "import os, signal, sys\n"
        "from tracekit.cli import main\n"
        "from tracekit.recording import Recording\n"
        "Recording.batches = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['tracekit', 'export', {str(path)!r}, '--format', 'csv', '-o', {str(out)!r}]\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + 15
    assert list(tmp_path.iterdir()) == []


def test_recorded_text_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = {
        "proc/version": "Linux version 6.16\x1b[31m (a@b)\n",
        "sys/kernel/tracing/saved_cmdlines": "1 in\x1b]0;it\n",
    }
    session = make_session(tmp_path, two_cpus(), evil)
    assert main(["report", str(session)]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    done = bash(f"script -qec '{TRACEKIT} events {session}' /dev/null")
    assert "\x1b" not in done.stdout
    assert "in\\x1b]0;it" in done.stdout
