"""Output that goes wrong, terminals that are small, and text that wants to steer them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.session_trees import ADDRESS, make_session, make_tree, two_cpus
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


@pytest.mark.slow
@pytest.mark.parametrize("command", ["events", "report", "report --json"])
def test_a_full_disk_is_said(path: Path, command: str) -> None:
    name, *options = command.split()
    done = bash(f"tracekit {name} {path} {' '.join(options)} > /dev/full")
    assert done.returncode == 3
    assert done.stderr == "tracekit: No space left on device\n"


def test_a_closed_stdout_is_no_traceback(path: Path) -> None:
    assert "Traceback" not in bash(f"tracekit report {path} >&-").stderr


#: Every command that prints, or is a single step to do: (arguments, exit code).
COMMANDS = [
    ("report {session}", 0), ("report {session} --json", 0), ("events {session} --cpu 0", 0),
    ("export {session} --format csv -o - --cpu 0", 0), ("setup --kernel /boot/k", 0),
    ("completion bash", 0), ("--help", 0), ("show", 2), ("show --web {session}/no", 4),
    ("lab", 2), ("handover --kernel /no", 2),
]  # fmt: skip


def broken(number: int) -> dict[str, int]:
    """For subprocess: stream ``number`` is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return {"stdout" if number == 1 else "stderr": writer}


def run(words: list[str], **streams: int) -> subprocess.CompletedProcess[str]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    done = subprocess.run([*TRACEKIT.split(), *words], text=True, check=False, **given)  # type: ignore[call-overload]
    for fd in streams.values():
        os.close(fd)
    assert isinstance(done, subprocess.CompletedProcess)
    return done


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), COMMANDS)
def test_nobody_reads_it(path: Path, words: str, code: int) -> None:
    done = run(words.format(session=path).split(), **broken(1))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert code or not done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), COMMANDS)
def test_closed_streams(path: Path, words: str, code: int) -> None:
    done = bash(f"tracekit {words.format(session=path)} <&- >&- 2>&-")
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.slow
def test_closed_streams_do_not_become_files(path: Path, tmp_path: Path) -> None:
    for name, closed in (("as", ""), ("is", "2>&-"), ("none", "<&- >&- 2>&-")):
        out = tmp_path / name
        done = bash(f"tracekit -v export {path} --format csv -o {out} --cpu 0 {closed}")
        assert done.returncode == 0
    written = {(tmp_path / name).read_bytes() for name in ("as", "is", "none")}
    assert len(written) == 1


def test_messages_that_nobody_reads_end_no_work(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", two_cpus().data)
    region = f"tkA@{ADDRESS:#x}:{len(two_cpus().data):#x}"
    for words in (
        ["-v", "snapshot", "--sysroot", str(tree), "-o", str(tmp_path / "S")],
        ["-v", "recover", "--sysroot", str(tree), "--region", region, str(tmp_path / "S")],
    ):
        assert run(words, **broken(2)).returncode == 0
    words = ["-v", "recover", "--sysroot", str(tmp_path / "no"), str(tmp_path / "S")]
    assert run(words, **broken(2)).returncode == 3
    with Path("/dev/full").open("w") as full:
        assert run(["report", str(tmp_path / "S")], stderr=os.dup(full.fileno())).returncode == 0


def test_another_pipe_that_broke_is_an_error() -> None:
    code = (
        "import sys\n"
        "from tracekit.cli import main\n"
        "from tracekit.recording import Recording\n"
        "def fails(*a, **k): raise BrokenPipeError(32, 'Broken pipe')\n"
        "Recording.report = fails\n"
        "sys.argv = ['tracekit', 'demo']\n"  # of which nothing is kept
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "tracekit: Broken pipe\n")


@pytest.mark.slow
def test_twelve_open_files_are_enough(tmp_path: Path) -> None:
    tree, session = make_tree(tmp_path / "tree", two_cpus().data), tmp_path / "S"
    region = f"tkA@{ADDRESS:#x}:{len(two_cpus().data):#x}"
    for words in (
        f"snapshot --sysroot {tree} -o {session}",
        f"recover --sysroot {tree} --region {region} {session}",
        f"report {session}",
        f"events {session}",
        f"export {session} --format csv -o {tmp_path / 'csv'}",
        f"export {session} --format parquet -o {tmp_path / 'parquet'}",
        f"export {session} --format parquet --per-event {tmp_path / 'per-event'}",
    ):
        done = bash(f"ulimit -n 12; tracekit -q {words}")
        assert (done.returncode, done.stderr) == (0, ""), words


@pytest.mark.parametrize("files", [5, 8])
def test_too_few_open_files_are_said(path: Path, files: int) -> None:
    done = bash(f"ulimit -n {files}; tracekit report {path}")
    assert done.returncode in (3, 4)
    assert "Too many open files" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_nobody_else_may_write_what_is_made(tmp_path: Path) -> None:
    tree, made = make_tree(tmp_path / "tree", two_cpus().data), tmp_path / "made"
    region, session = f"tkA@{ADDRESS:#x}:{len(two_cpus().data):#x}", made / "deep" / "S"
    lines = (
        f"snapshot --sysroot {tree} -o {session}",
        f"recover --sysroot {tree} --region {region} {session}",
        f"export {session} --format csv -o {made / 'csv'}",
        f"export {session} --format parquet -o {made / 'parquet'}",
        f"export {session} --format parquet --per-event {made / 'per' / 'event'}",
        f"demo -o {made / 'demo'}",
    )
    done = bash("umask 000; set -e\n" + "\n".join(f"tracekit -q {line}" for line in lines))
    assert (done.returncode, done.stderr) == (0, "")
    modes = {path: path.stat().st_mode for path in (made, *made.rglob("*"))}
    assert len(modes) > 100
    assert [path for path, mode in modes.items() if mode & 0o022] == []
    done = bash(f"umask 002; tracekit -q export {session} --format csv -o {made / 'shared'}")
    assert (made / "shared").stat().st_mode & 0o777 == 0o664  # a group's own wish


def test_a_stream_without_unicode(path: Path) -> None:
    done = bash(f"tracekit report {path}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "7.2.13" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["60", "72", "80", "200"])
def test_numbers_are_never_cut(path: Path, columns: str) -> None:
    done = bash(f"script -qec '{TRACEKIT} report {path}' /dev/null", COLUMNS=columns, NO_COLOR="1")
    assert done.returncode == 0
    for number in ("24,085", "28,019", "52,104", "ms", "µs"):
        assert number in done.stdout


@pytest.mark.slow
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
        "Recording.row_batches = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)\n"
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
