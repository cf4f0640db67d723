"""QEMU's arguments, the data disk, how runs end and what is brought out; without QEMU."""

from __future__ import annotations

import io
import itertools
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from tracekit.errors import LabError, SessionError, UsageError
from tracekit.lab import machine
from tracekit.lab.machine import Plan, first_cmdline, run, run_qemu, unpack
from tracekit.lab.qemu import Direct, Disks, qemu_argv


def test_a_plan_becomes_arguments() -> None:
    disks = Disks(Path("/lab/a,b/root"), Path("/lab/data"), Path("/lab/results"))
    kernel = Direct(Path("/k"), Path("/i"), "console=ttyS0 a=b")
    argv = qemu_argv(kernel, disks, cpus=4, memory=512)
    pairs = list(itertools.pairwise(argv))
    for pair in [("-kernel", "/k"), ("-initrd", "/i"), ("-append", "console=ttyS0 a=b"),
                 ("-smp", "4"), ("-m", "512M")]:  # fmt: skip
        assert pair in pairs
    drives = [value for option, value in pairs if option == "-drive"]
    assert "file=/lab/a,,b/root,readonly=on" in drives[0]
    assert "file=/lab/data," in drives[1]
    assert "file=/lab/results," in drives[2]
    assert argv[argv.index("-accel") + 1].startswith("tcg,")
    assert "-no-reboot" in argv
    assert "kvm" in qemu_argv(kernel, kvm=True)
    assert "-no-reboot" not in qemu_argv(kernel, restarts=True)


def test_a_disk_is_booted_from_and_comes_after_the_others() -> None:
    disks = Disks(Path("/lab/root"), Path("/lab/data"), Path("/lab/results"))
    pairs = list(itertools.pairwise(qemu_argv(Path("/lab/grub"), disks)))
    drives = [value for option, value in pairs if option == "-drive"]
    assert "file=/lab/grub," in drives[3]
    devices = [value for option, value in pairs if option == "-device" and "drive=" in value]
    assert [("bootindex=0" in value) for value in devices] == [False, False, False, True]
    assert not {"-kernel", "-initrd", "-append"} & {option for option, _ in pairs}


def test_the_first_command_line() -> None:
    assert first_cmdline("8M") == (
        "console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=nowatchdog"
        " kho=on reserve_mem=8M:2M:tkA reserve_mem=8M:2M:tkB trace_instance=tk^traceoff@tkA"
    )


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_console_is_read_to_its_end() -> None:
    seen: list[str] = []
    argv = child("print('one'); print('two', end='')")
    lines = run_qemu(argv, 60, lambda line: seen.append(line.text))
    assert [line.text for line in lines] == seen == ["one", "two"]


def test_a_guest_that_does_not_end_is_killed_and_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(machine.time, "monotonic", lambda: now[0])

    def watch(line: machine.Line) -> None:
        now[0] = 1000.0 if line.text == "stuck" else 0.0

    code = "import os, time; print(os.getpid(), flush=True); print('stuck', flush=True)\n"
    with pytest.raises(LabError) as caught:
        run_qemu(child(code + "time.sleep(1000)"), 600, watch)
    text = str(caught.value)
    assert text.startswith("the guest was not done after 600 s")
    assert text.endswith("\n  stuck")
    with pytest.raises(ProcessLookupError):
        os.kill(int(text.splitlines()[-2]), 0)


def test_a_guest_that_panics_for_ever_is_ended() -> None:
    """One that may restart would never end by itself."""
    code = "import time\nfor n in range(3): print('Kernel panic - not syncing:', n, flush=True)\n"
    lines = run_qemu(child(code + "time.sleep(1000)"), 600, lambda line: None, panics=1)
    assert [line.text[-1] for line in lines] == ["0", "1"]


def test_a_qemu_that_fails_is_quoted() -> None:
    with pytest.raises(LabError, match=r"status 7\nthe guest's last lines:\n  no such machine$"):
        run_qemu(child("print('no such machine'); raise SystemExit(7)"), 60, lambda line: None)


def test_an_interrupt_kills_the_guest() -> None:
    pids: list[int] = []

    def interrupt(line: machine.Line) -> None:
        pids.append(int(line.text))
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    with pytest.raises(KeyboardInterrupt):
        run_qemu(child(code), 60, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def archive(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """A tar archive of (name, type, data), in a file that is longer, as the disk is."""
    with tarfile.open(path, "w") as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode = kind, len(data), 0o777
            info.linkname = "/etc/passwd"
            tar.addfile(info, io.BytesIO(data))
    os.truncate(path, 1 << 20)
    return path


def test_only_regular_files_come_out_of_the_guest(tmp_path: Path) -> None:
    members = [
        ("./session/manifest.json", tarfile.REGTYPE, b"{}"),
        ("./link", tarfile.SYMTYPE, b""),
        ("./fifo", tarfile.FIFOTYPE, b""),
        ("cache/bpf/12", tarfile.REGTYPE, b"programs"),
    ]
    output = tmp_path / "out"
    unpack(archive(tmp_path / "a.tar", *members), output, tmp_path / "cache")
    assert (tmp_path / "cache" / "bpf" / "12").read_bytes() == b"programs"
    files = [path for path in output.rglob("*") if not path.is_dir()]
    assert [str(path.relative_to(output)) for path in files] == ["session/manifest.json"]
    assert files[0].read_bytes() == b"{}"
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(output.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "/escaped", "cache/../escaped"])
def test_a_guest_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    source = archive(tmp_path / "a.tar", (name, tarfile.REGTYPE, b"x"))
    (tmp_path / "below").mkdir()
    with pytest.raises(SessionError):
        unpack(source, tmp_path / "below" / "out", tmp_path / "below" / "cache")
    assert not list(tmp_path.glob("**/escaped"))
    assert not (tmp_path / "below" / "out").exists()


def test_an_output_that_exists_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        run(Plan("7.2", ("true",)), tmp_path)
