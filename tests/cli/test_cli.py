"""The command line as a user and a script meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.cli import main

TRACEKIT = [sys.executable, "-m", "tracekit"]


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRACEKIT, *args], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )


@pytest.mark.parametrize("args", [["--help"], ["snapshot", "--help"], ["recover", "--help"]])
def test_help_and_the_target_half_import_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from tracekit.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'textual', 'rich'} & set(sys.modules);"
        "print(heavy, file=sys.stderr); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: tracekit" in done.stdout


def test_every_command_has_help_that_names_its_session() -> None:
    for command in ("snapshot", "recover", "report", "events", "export"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert "SESSION" in done.stdout
        assert "--quiet" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_TRACEKIT_COMPLETE" in done.stdout


def test_completion_completes_commands() -> None:
    done = run(_TRACEKIT_COMPLETE="bash_complete", COMP_WORDS="tracekit re", COMP_CWORD="1")
    assert done.returncode == 0
    found = {line.split(",")[1] for line in done.stdout.splitlines()}
    assert found == {"record", "recover", "report"}


@pytest.mark.parametrize(
    ("args", "code"),
    [(["nonsense"], 2), (["report"], 2), (["report", "/nonexistent"], 4),
     (["events", "{session}", "--from", "yesterday"], 2),
     (["events", "{session}", "--grep", "("], 2),
     (["snapshot", "--sysroot", "/nonexistent", "-o", "{tmp}/s"], 3)],
)  # fmt: skip
def test_exit_codes(
    args: list[str], code: int, session: Callable[[str], Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = str(session("handover-7.2-tsc"))
    args = [a.format(session=path, tmp=tmp_path) for a in args]
    assert main(args) == code
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    assert err


def test_errors_name_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 4
    assert "tracekit" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(session: Callable[[str], Path]) -> None:
    path = str(session("handover-7.2-tsc"))
    done = subprocess.run(
        f"{sys.executable} -m tracekit events {path} | head -n 2",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2
    assert not done.stderr


def test_events_as_json_have_typed_fields(
    session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(session("handover-7.2-tsc"))
    assert main(["events", path, "--event", "handover:*", "--from", "-1s", "--format", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    columns = {"ts_ns", "boot", "cpu", "pid", "comm", "event", "flags", "args", "ts_raw", "fields"}
    assert columns <= events[-1].keys()
    assert events[-1]["event"] == "handover:machine_kexec"
    assert events[-1]["ts_ns"] == 0
    assert int(events[-1]["fields"]["image"], 16) > 0


def test_events_as_text(session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(session("handover-7.2-tsc"))
    assert main(["events", path, "--event", "machine_kexec"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["+0.000000000", "0:000"]
    assert "handover:machine_kexec (machine_kexec+0x" in line


def test_report_json_and_text_agree(
    session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(session("handover-7.2-tsc"))
    assert main(["report", path, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["report", path]) == 0
    text = capsys.readouterr().out
    assert f"{report['gap_ns'] / 1e9:.3f} s" in text
    assert f"{report['blackout_ns'] / 1e9:.3f} s" in text
    assert "13,619,330,590 cycles" in text
    assert report["verdict"] in text
    assert "\x1b" not in text


def test_the_demo_is_a_whole_handover(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["demo", "--json"]) == 0
    shipped = json.loads(capsys.readouterr().out)
    assert shipped["complete"] and [b["lost"] for b in shipped["boots"]] == [0, 0]
    assert all(phase["observed"] for phase in shipped["phases"])
    assert shipped["last_events"][9]["event"] == "kexec:machine_kexec"
    assert {d["bus_master"] for d in shipped["devices"] if d["driver"] == "virtio-pci"} == {False}
    assert main(["demo"]) == 0
    assert "tracekit demo -o DIR" in capsys.readouterr().err
    copy = tmp_path / "copy"
    assert main(["demo", "-o", str(copy)]) == 0
    assert copy.stat().st_mode & 0o777 == 0o700
    assert main(["report", str(copy), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert {**shipped, "session": ""} == {**made, "session": ""}
    assert main(["demo", "-o", str(copy)]) == 2


def test_the_demos_probe_records_came_both_ways(tmp_path: Path) -> None:
    """Every record that was printed is in bpf.bin too, until the last snapshot; none is doubled."""
    from importlib.resources import files

    import tracekit
    from tracekit.probes.records import RECORD, unpack
    from tracekit.timeline.filter import Filter

    recording = tracekit.open(files("tracekit") / "demo" / "handover.tar.zst")
    data = recording.session.read("boots/0/bpf.bin")
    sent = {(r.cpu, r.seq) for r in (unpack(data, i) for i in range(0, len(data), RECORD.size))}
    shown: set[tuple[int, int]] = set()
    for name in {k.name for k in recording.kinds if k.name.startswith(("kexec:", "device:"))}:
        table = recording.event(name, Filter(boots=frozenset({0})))
        pairs = list(zip(table["cpu"].to_pylist(), table["seq"].to_pylist(), strict=True))
        assert not shown & set(pairs)
        shown |= set(pairs)
    assert shown & sent and shown - sent
    assert len(recording.event("bpf_trace:bpf_trace_printk")) == 0


def test_the_demo_is_small_enough_to_ship() -> None:
    import tracekit

    archive = Path(tracekit.__file__).parent / "demo" / "handover.tar.zst"
    assert archive.stat().st_size <= 3_000_000


def test_version() -> None:
    assert run("--version").stdout.startswith("tracekit 0.")
