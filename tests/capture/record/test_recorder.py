"""Recording's parts that need no kernel: which events, which instance, what is armed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import Live, old_machine
from tracekit.capture.cmdline.session_param import default_session
from tracekit.capture.record.armed import Armed, ArmedFile
from tracekit.capture.record.instance import Instance, InstanceState, find_instance, globs
from tracekit.capture.record.recorder import Options, Recorder, cleanup
from tracekit.capture.record.region import region_of
from tracekit.capture.save.bpf_store import bpf_records, finish_bpf
from tracekit.errors import SourceError, UsageError
from tracekit.session import Session, SessionWriter
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot

TRACEFS = "sys/kernel/tracing"
TK = f"{TRACEFS}/instances/tk"
CMDLINE = "kho=on reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB trace_instance=tk^traceoff@tkA"
STATS = "entries: {}\noverrun: {}\ncommit overrun: 1\nbytes: 9\ndropped events: 2\nread events: 0\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A machine with one trace instance, whose files can be written like any others."""
    files = {
        "proc/cmdline": f"{CMDLINE}\n",
        "proc/sys/kernel/random/boot_id": "0123abcd-1111-2222-3333-444444444444\n",
        f"{TK}/tracing_on": "0\n",
        f"{TK}/trace_clock": "[local] global x86-tsc\n",
        f"{TK}/set_event": "",
        f"{TK}/trace": "old records",
        f"{TK}/last_boot_info": "# Current\n",
        f"{TK}/per_cpu/cpu0/stats": STATS.format(3, 4),
        f"{TK}/per_cpu/cpu1/stats": STATS.format(5, 0),
        f"{TRACEFS}/kprobe_events": "p:tracekit/a f\np:mine/b g\n",
    }
    names = ("sched/sched_switch", "sched/sched_process_exec", "irq/irq_handler_entry")
    files |= {f"{place}/events/{n}/enable": "0\n" for n in names for place in (TRACEFS, TK)}
    for rel, text in files.items():
        path = tmp_path / "tree" / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


@pytest.fixture
def instance(tree: Path) -> Instance:
    return find_instance(Live(tree))


@pytest.mark.parametrize("more", ["ramoops.mem_name=tkA", "trace_instance=mine@tkA"])
def test_memory_that_somebody_else_writes_to_is_not_recorded_into(tree: Path, more: str) -> None:
    (tree / "proc/cmdline").write_text(f"{CMDLINE} {more}\n")
    with pytest.raises(SourceError, match="tk lies on tkA, which is used by"):
        find_instance(Live(tree), "tk")
    (tree / "proc/cmdline").write_text(f"{CMDLINE} {more.replace('tkA', 'tkB')}\n")
    assert find_instance(Live(tree), "tk").name == "tk"


def test_presets_and_globs() -> None:
    assert "sched:sched_switch" in globs(["handover"])
    assert globs(["everything"]) == ("*:*",)
    assert globs(["sched:*", "irq_handler_entry", "sched:*"]) == ("sched:*", "irq_handler_entry")
    for wrong in ("", "a b", "sched:switch:x", "$(id)", "x;y"):
        with pytest.raises(UsageError, match="neither a preset"):
            globs([wrong])


def test_the_instance_on_the_region_is_found(tree: Path) -> None:
    assert find_instance(Live(tree)).name == "tk"
    (tree / TRACEFS / "instances" / "other").mkdir()
    with pytest.raises(UsageError, match="would not survive"):
        find_instance(Live(tree), "other")
    with pytest.raises(SourceError, match=r"no such trace instance \(there: other, tk\)"):
        find_instance(Live(tree), "../tk")
    (tree / "proc/cmdline").write_text("quiet\n")
    with pytest.raises(SourceError, match="tracekit setup"):
        find_instance(Live(tree))


def test_what_the_instance_says(instance: Instance) -> None:
    assert instance.clock == "local"
    assert instance.clocks == ("local", "global", "x86-tsc")
    stats = instance.stats()
    assert (stats.entries, stats.overrun, stats.dropped, stats.written) == (8, 4, 6, 12)


@pytest.mark.parametrize(
    ("info", "holds"),
    [
        ("# Current\nx\n", None),
        ("ffffffff81000000\t[kernel]\n", "ffffffff81000000"),
        ("0\t[kernel]\n", None),
        ("text delta:\t-5\n", None),  # 6.12 to 6.14: no address
        ("", None),
    ],
)
def test_another_kernels_record(tree: Path, info: str, holds: str | None) -> None:
    (tree / TK / "last_boot_info").write_text(info)
    assert find_instance(Live(tree)).earlier_boot() == holds
    for cpu in (0, 1):
        (tree / TK / f"per_cpu/cpu{cpu}/stats").write_text(STATS.format(0, 0))
    assert find_instance(Live(tree)).earlier_boot() is None


def test_globs_are_resolved_here(tree: Path, instance: Instance) -> None:
    written: list[str] = []
    instance.write = lambda rel, text: written.append(text)  # type: ignore[method-assign]
    missing = instance.enable(["sched:sched_pro*", "*_handler_*", "irq:*", "kvm:k*"])
    assert written == ["sched:sched_process_exec", "irq:irq_handler_entry", "irq:*"]
    assert missing == ["kvm:k*"]


def test_the_state_is_put_back(tree: Path, instance: Instance) -> None:
    before = instance.state()
    assert before == InstanceState("0", "local", ())
    instance.write("tracing_on", "1")
    instance.clear()
    instance.restore(before)
    assert (tree / TK / "tracing_on").read_text() == "0\n"
    assert (tree / TK / "trace").read_text() == ""


class Limited(Instance):
    """``saved_cmdlines_size`` as the kernel has it: it rounds up, and empties the names."""

    most = 1 << 15

    def _write(self, path: str, text: str, flags: int) -> None:
        if path.endswith("/saved_cmdlines_size"):
            if not 0 < int(text) <= self.most:
                raise SourceError(f"{path}: cannot write {text!r}: Invalid argument")
            text = {"32768": "45873\n", "4096": "6552\n"}.get(text, f"{text}\n")
            self.root.path.joinpath(TRACEFS, "saved_cmdlines").write_text("")
            Path(self.root.where(path)).unlink()
            Path(self.root.where(path)).touch()
        super()._write(path, text, flags)


def limited(tree: Path, size: str, most: int = 1 << 15) -> Limited:
    (tree / TRACEFS / "saved_cmdlines").write_text("1 init\n")
    (tree / TRACEFS / "saved_cmdlines_size").write_text(size)
    instance = Limited(Live(tree), TRACEFS, "tk")
    instance.most = most
    return instance


@pytest.mark.parametrize(
    ("size", "most", "raised"),
    [("128\n", 1 << 15, "45873\n"), ("6552\n", 1 << 15, "45873\n"), ("128\n", 4096, "6552\n"),
     ("128\n", 1000, "128\n"), ("45873\n", 1 << 15, "45873\n"), ("?\n", 1 << 15, "?\n")],
)  # fmt: skip
def test_more_names_are_remembered_while_recording(
    tree: Path, size: str, most: int, raised: str
) -> None:
    instance, file = limited(tree, size, most), tree / TRACEFS / "saved_cmdlines_size"
    before = instance.state()
    assert instance.remember_tasks() == b"1 init\n"
    assert file.read_text() == raised
    instance.restore(before)
    assert file.read_text() == size


def test_a_kernel_without_a_number_of_names(instance: Instance) -> None:
    assert instance.remember_tasks() == b""
    assert instance.state().saved_cmdlines_size == ""


def test_cleanup_puts_the_number_of_names_back(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder was killed: what it raised is in the armed file."""
    monkeypatch.setattr("tracekit.capture.record.armed._DIRECTORIES", (str(tmp_path),))
    for cpu in (0, 1):
        (tree / TK / f"per_cpu/cpu{cpu}/stats").write_text(STATS.format(0, 0))
    instance = limited(tree, "128\n")
    boot_id = (tree / "proc/sys/kernel/random/boot_id").read_text().strip()
    with ArmedFile() as file:
        file.write(Armed(7, str(tmp_path / "S"), "tk", boot_id, instance.state()))
        instance.remember_tasks()
    assert cleanup(Live(tree)) == str(tmp_path / "S")
    # a plain file is not truncated: the end of what was raised is left
    assert (tree / TRACEFS / "saved_cmdlines_size").read_text().startswith("128")


def test_nothing_is_written_through_a_symlink(tree: Path, instance: Instance) -> None:
    target = tree / "target"
    target.write_text("kept")
    (tree / TK / "tracing_on").unlink()
    (tree / TK / "tracing_on").symlink_to(target)
    with pytest.raises(SourceError, match="tracing_on"):
        instance.write("tracing_on", "1")
    assert target.read_text() == "kept"


def test_only_tracekits_kprobes_are_removed(tree: Path, instance: Instance) -> None:
    assert instance.remove_kprobes() == 0  # none is defined while the group does not exist
    (tree / TRACEFS / "events/tracekit").mkdir()
    assert instance.remove_kprobes() == 1
    assert (tree / TRACEFS / "kprobe_events").read_text().endswith("p:mine/b g\n-:tracekit/a")


ARMED = Armed(7, "/s", "tk", "id", InstanceState("1", "mono", ("sched:sched_switch",), "128"))


def test_the_armed_file_outlives_its_writer(tmp_path: Path) -> None:
    with ArmedFile(str(tmp_path)) as file:
        assert file.read() is None
        assert file.lock()
        file.write(ARMED)
        with ArmedFile(str(tmp_path)) as other:
            assert not other.lock()
            assert other.read() == ARMED
    with ArmedFile(str(tmp_path)) as file:
        assert file.lock()
        assert file.read() == ARMED
        file.clear()
        assert file.read() is None
    assert Path(file.path).stat().st_mode & 0o777 == 0o600


def test_a_shorter_text_replaces_a_longer_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ArmedFile(str(tmp_path)) as file:
        file.write(ARMED)
        monkeypatch.setattr(os, "ftruncate", lambda *_: pytest.fail("a second step"))
        file.write(replace(ARMED, released=True))
        assert file.read() == replace(ARMED, released=True)


@pytest.mark.parametrize(
    "change",
    [{"pid": "x"}, {"pid": -1}, {"instance": "../x"}, {"before": 3}, {"more": 1}, {"session": 1}],
)
def test_a_damaged_armed_file_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    with ArmedFile(str(tmp_path)) as file:
        Path(file.path).write_text(json.dumps({**json.loads(ARMED.encode()), **change}))
        assert file.read() is None


@pytest.mark.parametrize("size", [None, "x", "-5", 3])
def test_an_armed_file_of_another_version(tmp_path: Path, size: object) -> None:
    document = json.loads(ARMED.encode())
    del document["before"]["saved_cmdlines_size"]
    document["before"] |= {} if size is None else {"saved_cmdlines_size": size}
    with ArmedFile(str(tmp_path)) as file:
        Path(file.path).write_text(json.dumps(document))
        armed = file.read()
    assert armed is not None
    assert armed.before.saved_cmdlines_size == ("3" if size == 3 else "")


def test_the_armed_file_is_no_symlink(tmp_path: Path) -> None:
    with ArmedFile(str(tmp_path)) as file:
        path = Path(file.path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="cannot be opened"):
        ArmedFile(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


def test_records_are_kept_whoever_finishes_them(tmp_path: Path) -> None:
    with SessionWriter.open(tmp_path / "S") as writer:
        writer.write("boots/0/kernel.json", b"{}")
        writer.add_boot(0)
        for records in (b"first", b"second"):
            fd = writer.open_part(bpf_records(0))
            os.write(fd, records)
            os.close(fd)
            finish_bpf(writer)
            finish_bpf(writer)
        writer.finish("snapshot")
    assert Session.open(tmp_path / "S").read("boots/0/bpf.bin") == b"firstsecond"


def test_damaged_records_are_put_aside(tmp_path: Path) -> None:
    with SessionWriter.open(tmp_path / "S") as writer:
        writer.write("boots/0/kernel.json", b"{}")
        writer.add_boot(0)
        writer.write(bpf_records(0), b"first", compressed=True)
        (stored,) = (tmp_path / "S/boots/0").glob("bpf.bin*")
        stored.write_bytes(b"damaged")
        fd = writer.open_part(bpf_records(0))
        os.write(fd, b"second")
        os.close(fd)
        finish_bpf(writer)
        writer.finish("snapshot")
    assert Session.open(tmp_path / "S").read("boots/0/bpf.bin") == b"second"
    (aside,) = (tmp_path / "S/boots/0/other-copies").iterdir()
    assert aside.read_bytes() == b"damaged"


def test_where_the_region_lies(tree: Path) -> None:
    class Logged(Live):
        def kernel_log(self) -> bytes | None:
            return (
                b"[    0.000000] Tracing: mapped boot instance tk at physical memory "
                b"0x000000007d600000 of size 0x400000\n"
            )

    assert region_of(Logged(tree), "tk") == ("tkA", 0x7D600000, 0x400000)
    with pytest.raises(SourceError, match="mount debugfs"):
        region_of(Logged(tree), "other")
    (tree / "proc/cmdline").write_text("trace_instance=tk@0x70000000:4M\n")
    assert region_of(Live(tree), "tk") == ("carveout-70000000", 0x70000000, 4 << 20)


def test_the_session_of_a_boot(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = tree / "sessions"
    monkeypatch.setattr("tracekit.capture.cmdline.session_param.SESSIONS", sessions)
    own = default_session(Sysroot(tree))
    assert own.parent == sessions and own.name.endswith("-0123abcd")
    (sessions / "20200101-0123abcd").mkdir(parents=True)  # begun on another day
    assert default_session(Sysroot(tree)) == sessions / "20200101-0123abcd"
    (tree / "proc/cmdline").write_text(f"{CMDLINE} tracekit.session=/srv/s\n")
    assert default_session(Sysroot(tree)) == Path("/srv/s")


def test_what_another_boot_left_armed_is_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracekit.capture.record.armed._DIRECTORIES", (str(tmp_path),))
    with ArmedFile() as file:
        file.write(ARMED)
    assert cleanup(Live(tree)) is None
    assert (tree / TK / "tracing_on").read_text() == "0\n"
    with ArmedFile() as file:
        assert file.read() is None


def test_a_recorder_that_lives_is_not_cleaned_up(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracekit.capture.record.armed._DIRECTORIES", (str(tmp_path),))
    with ArmedFile() as file:
        assert file.lock()
        file.write(ARMED)
        with pytest.raises(SourceError, match=r"\(pid 7\) is alive"):
            cleanup(Live(tree))
        with pytest.raises(SourceError, match="another tracekit is recording: pid 7, into /s"):
            Recorder(Live(tree), Options(tmp_path / "S"))
    assert not (tmp_path / "S").exists()


def test_a_recording_keeps_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those from before the table was emptied to make it larger, and those since forgotten."""
    monkeypatch.setattr("tracekit.capture.record.armed._DIRECTORIES", (str(tmp_path),))
    machine = old_machine()
    files = {
        f"{TK}/tracing_on": b"0\n", f"{TK}/set_event": b"", f"{TK}/trace": b"",
        f"{TRACEFS}/kprobe_events": b"", f"{TRACEFS}/available_filter_functions": b"",
        f"{TRACEFS}/saved_cmdlines": b"1 init\n5 sh\n",
    }  # fmt: skip
    files |= {f"{TK}/events/sys/event{i}/enable": b"0\n" for i in range(machine.events)}
    root = Live(replace(machine, files=files).write(tmp_path / "tree"))
    (root.path / TRACEFS / "saved_cmdlines_size").write_text("128\n")
    names = root.path / TRACEFS / "saved_cmdlines"
    raised = Instance.remember_tasks

    def emptied(instance: Instance) -> bytes:  # a plain file is not
        before = raised(instance)
        names.write_text("")
        return before

    monkeypatch.setattr(Instance, "remember_tasks", emptied)
    options = Options(tmp_path / "S", events=("sys:*",), clock="local", bpf=False)
    recorder = Recorder(root, options)
    names.write_text("7 new\n")
    recorder.release()
    recorder.probing.close()
    assert (root.path / TRACEFS / "saved_cmdlines_size").read_text() == "32768"
    assert Boot(Session.open(tmp_path / "S"), 0).task_names == {
        1: ("init",), 5: ("sh",), 7: ("new",)
    }  # fmt: skip
