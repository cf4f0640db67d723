"""Recording into a carve-out, and handing over from one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, Live, Machine, new_machine, old_machine
from tests.support.sessions.handed_over import ring
from tracekit.capture.record.chosen import chosen_instance, survival
from tracekit.capture.record.handover import Next, plan
from tracekit.capture.record.instance import Instance, find_instance
from tracekit.capture.record.recorder import Options, Recorder
from tracekit.capture.save.snapshot import snapshot
from tracekit.cli import main
from tracekit.errors import SourceError, UsageError
from tracekit.session import Session
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot

A, HALF = 0x70000000, 0x10000
B = A + HALF
TRACEFS = "sys/kernel/tracing"
TK = f"{TRACEFS}/instances/tk"
CARVED = f"memmap=128K${A:#x} trace_instance=tk^traceoff@{A:#x}:64K"
KEPT = f"00100000-{A - 1:08x} : System RAM\n{A:08x}-{B + HALF - 1:08x} : Reserved\n"
RAM = f"00100000-{B + HALF:08x} : System RAM\n"
RECORDING = {
    f"{TK}/tracing_on": b"0\n", f"{TK}/set_event": b"", f"{TK}/trace": b"",
    f"{TRACEFS}/kprobe_events": b"", f"{TRACEFS}/available_filter_functions": b"",
    **{f"{TK}/events/sys/event{i}/enable": b"0\n" for i in range(3)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_other_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracekit.capture.record.armed._DIRECTORIES", (str(tmp_path),))
    monkeypatch.setattr("tracekit.capture.cmdline.session_param.SESSIONS", tmp_path / "sessions")


def tree(path: Path, machine: Machine, cmdline: str = CARVED, iomem: str = KEPT) -> Live:
    files = RECORDING | {"proc/iomem": iomem.encode()} | machine.files
    return Live(replace(machine, cmdline=cmdline, files=files, kho=None, regions={}).write(path))


def images(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path / "vmlinuz", tmp_path / "initrd"


def planned(
    tmp_path: Path, root: Live, carrier: str | None = None, **asked: object
) -> tuple[str, tuple[str, ...]]:
    options = Options(tmp_path / "S", carrier=carrier)
    following = Next(*images(tmp_path), **asked)  # type: ignore[arg-type]
    boot = plan(root, following, options).boot
    return boot.cmdline, boot.warnings


def test_the_other_half_is_handed_on(tmp_path: Path) -> None:
    cmdline, warnings = planned(tmp_path, tree(tmp_path / "tree", old_machine()))
    assert f"trace_instance=tk^traceoff@{B:#x}:64K" in cmdline and "kho" not in cmdline
    assert f"memmap=128K${A:#x}" in cmdline and warnings == ()


@pytest.mark.parametrize(
    ("cmdline", "iomem", "why"),
    [
        (old_machine().cmdline.replace("kho=on", "kho=off"), KEPT, "kho= is off"),
        (f"trace_instance=tk@{A:#x}:64K", RAM, "nothing keeps it"),
    ],
)
def test_a_jump_that_loses_the_record_is_refused(
    tmp_path: Path, cmdline: str, iomem: str, why: str
) -> None:
    root = tree(tmp_path / "tree", old_machine(), cmdline, iomem)
    if "reserve_mem" not in cmdline:
        with pytest.raises(SourceError, match="nothing keeps it, and recording would overwrite"):
            find_instance(root)
        return
    with pytest.raises(UsageError, match=f"would not survive the jump: {why}.*--force"):
        planned(tmp_path, root)
    warnings = planned(tmp_path, root, force=True)[1]
    assert warnings[0].startswith("forced: the record of tk on tkA would not survive")


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", old_machine(), old_machine().cmdline)
    assert "whether the record survives is not known" in planned(tmp_path, root)[1][0]


def test_another_carrier_than_the_one_in_use(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", old_machine())
    with pytest.raises(UsageError, match="lies on 0x70000000"):
        planned(tmp_path, root, carrier="kho")


def test_append_cannot_lose_the_carve_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", old_machine())
    cmdline, _ = planned(tmp_path, root, append="console=ttyS0")
    assert cmdline.startswith(f"console=ttyS0 memmap=128K${A:#x} ")


@pytest.mark.parametrize(
    ("info", "entries", "moved"),
    [
        (b"text delta:\t-5\ndata delta:\t7\n", 3, True),
        (b"text delta:\t-5\ndata delta:\t7\n", 0, False),
        (b"text delta:\t0\ndata delta:\t0\n", 3, False),
        (b"# Current\n", 3, False),
    ],
)
def test_another_kernels_record_without_its_address(
    tmp_path: Path, info: bytes, entries: int, moved: bool
) -> None:
    """6.12 to 6.14 say how far the kernel has moved."""
    stats = b"entries: %d\noverrun: 0\n" % entries
    files = {f"{TK}/last_boot_info": info, f"{TK}/per_cpu/cpu0/stats": stats}
    root = tree(tmp_path / "tree", replace(old_machine(), files=files))
    assert Instance(root, TRACEFS, "tk").moved() == moved
    options = Options(tmp_path / "S", events=("sys:*",), clock="local", bpf=False)
    if moved:
        with pytest.raises(SourceError, match=r"still holds another kernel's record, and .*"):
            Recorder(root, options)


class Kernels(Instance):
    """``trace_clock`` as the kernel has it: the chosen one stands in brackets."""

    def write(self, rel: str, text: str) -> None:
        if rel == "trace_clock":
            clocks = [f"[{clock}]" if clock == text else clock for clock in self.clocks]
            (self.root.path / self.path / rel).write_text(f"{' '.join(clocks)}\n")
        else:
            super().write(rel, text)


def recorder(root: Live, monkeypatch: pytest.MonkeyPatch, options: Options) -> Recorder:
    monkeypatch.setattr(
        "tracekit.capture.record.recorder.chosen_instance",
        lambda root, *_: Kernels(root, TRACEFS, "tk"),
    )
    return Recorder(root, options)


def test_the_session_has_the_clock_that_was_armed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The regions of 6.12 to 6.14 do not say it."""
    root = tree(tmp_path / "tree", old_machine())
    options = Options(tmp_path / "S", events=("sys:*",), clock="x86-tsc", bpf=False)
    recording = recorder(root, monkeypatch, options)
    boot = Boot(Session.open(tmp_path / "S"), 0)  # as soon as it is armed: a panic may come
    assert boot.trace_clock("tk") == "x86-tsc"
    instances = boot.kernel["trace_instances"]
    assert [(i["name"], i["address"], i["size"]) for i in instances] == [("tk", A, HALF)]
    recording.release()
    recording.probing.close()
    assert Boot(Session.open(tmp_path / "S"), 0).trace_clock("tk") == "x86-tsc"


def test_what_a_reboot_left_is_recovered_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording would overwrite it; the session goes on where nobody named another one."""
    machine = replace(old_machine(), cmdline=CARVED)
    waiting = tmp_path / "sessions/20261128-11111111"
    snapshot(Sysroot(machine.write(tmp_path / "old")), waiting)
    after = replace(new_machine(), device={A: ring(OLD_TEXT, 3, 4), B: bytes(HALF)})
    root = tree(tmp_path / "tree", after)
    options = Options(tmp_path / "own", events=("sys:*",), clock="local", bpf=False, follow=True)
    recording = recorder(root, monkeypatch, options)
    assert recording.options.session == waiting and recording.boot == 1
    recording.release()
    recording.probing.close()
    session = Session.open(waiting)
    assert session.has(f"boots/0/regions/carveout-{A:x}.raw")
    assert not (tmp_path / "own").exists()


def test_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tracekit.sysroot.Sysroot.need_root", lambda *_: None)
    waiting = tmp_path / "sessions/a"
    snapshot(Sysroot(replace(old_machine(), cmdline=CARVED).write(tmp_path / "old")), waiting)
    root = tree(tmp_path / "tree", new_machine())
    command = ["recover", "--pending", "--sysroot", str(root.path)]
    assert main([*command, str(waiting)]) == 0
    assert capsys.readouterr().out == f"{waiting}\n"
    assert main([*command, str(tmp_path / "absent")]) == 1
    assert "no session waits" in capsys.readouterr().err


def test_a_record_that_nothing_keeps_is_remarked_on(tmp_path: Path) -> None:
    """It is of use until Ctrl-C."""
    cmdline = old_machine().cmdline.replace("kho=on", "kho=off")
    root = tree(tmp_path / "tree", old_machine(), cmdline)
    options = Options(tmp_path / "S", events=("sys:*",), clock="local", bpf=False)
    recording = Recorder(root, options)
    recording.release()
    recording.probing.close()
    (remark,) = [d for d in recording.diagnostics if d.code == "record-not-kept"]
    assert "would not survive the jump" in remark.message


def test_the_carrier_chooses_the_instance(tmp_path: Path) -> None:
    both = f"{old_machine().cmdline} {CARVED.replace('=tk^', '=t2^')}"
    files = {f"{TRACEFS}/instances/t2/trace_clock": b"[local]\n"}
    root = tree(tmp_path / "tree", replace(old_machine(), files=files), both)
    assert chosen_instance(root, None, None).name == "tk"
    assert chosen_instance(root, None, "carveout").name == "t2"
    with pytest.raises(UsageError, match="--carrier kho: t2 lies on 0x70000000"):
        survival(root, "t2", "kho")
