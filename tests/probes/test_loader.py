"""The loader where there is no BCC, and with one that records what it is asked."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.probes.fake_bpf import Bpf, Loaded, fake_bcc
from tests.support.machine_trees import Live
from tests.support.traceable_kernels import (
    BTF,
    DOWN,
    FUNCTION,
    ONLY_DOWN,
    PERSIST,
    PERSIST_DOWN,
    RETURNS_INT,
    TRACEABLE,
)
from tracekit.probes import cache, loader, prepare
from tracekit.probes.compiler import ProbesUnavailable
from tracekit.probes.headers import SOURCE, Headers
from tracekit.probes.libbpf import Pmu
from tracekit.probes.loader import Probes, load_probes
from tracekit.probes.prepare import prepare_probes
from tracekit.probes.records import KINDS, RECORD, RETURN, unpack
from tracekit.sysroot import Sysroot

NOTRACE = ("ring_buffer_resize", "rb_move_tail", "__rb_get_reader_page")
IDS = {kind.event: number for number, kind in KINDS.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files a kernel with two CPUs describes itself with."""
    addresses = {name: 0x1000 + 16 * i for i, name in enumerate((*TRACEABLE, *NOTRACE))}
    files: dict[str, str | bytes] = {
        "proc/kallsyms": "".join(f"{a:016x} T {n}\n" for n, a in addresses.items()),
        "sys/kernel/tracing/trace": "",
        "sys/kernel/tracing/available_filter_functions": "\n".join(TRACEABLE) + "\n",
        "sys/kernel/btf/vmlinux": BTF,
        "sys/kernel/kheaders.tar.xz": "",
        "sys/bus/event_source/devices/kprobe/type": "8\n",
        "sys/bus/event_source/devices/kprobe/format/retprobe": "config:3\n",
        "sys/kernel/notes": b"build-id",
        "sys/kernel/tracing/instances/tk/tracing_on": "1\n",
        "sys/kernel/tracing/instances/tk/buffer_size_kb": "1408\n",
        "sys/kernel/tracing/instances/tk/trace_clock": "local global [x86-tsc]\n",
    }
    for cpu in range(2):
        files[f"sys/kernel/tracing/instances/tk/per_cpu/cpu{cpu}/stats"] = (
            f"entries: {10 + cpu}\noverrun: 5\ncommit overrun: 0\nbytes: 99\n"
            "dropped events: 0\nread events: 2\n"
        )
    for rel, content in files.items():
        path = tmp_path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


@pytest.fixture
def made(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Probes]]:
    """made(refused=...) -> probes on the tree's kernel."""
    monkeypatch.setattr(prepare, "_check", lambda root: None)
    monkeypatch.setitem(sys.modules, "bcc", fake_bcc())
    monkeypatch.setattr(loader, "LoadedObjects", Loaded)

    def load(refused: tuple[str, ...] = NOTRACE, **more: Any) -> Probes:
        monkeypatch.setattr(Loaded, "refused", refused)
        instance = more.pop("instance", "tk")
        return load_probes(prepare_probes(Live(tree), **more), instance)

    yield load
    Bpf.made.clear()
    Loaded.made.clear()


def test_loads_what_is_there_and_says_what_is_not(made: Callable[..., Probes]) -> None:
    with made() as probes:
        loaded = {(p.event, p.function) for p in probes.loaded}
        missing = {m.event: m for m in probes.missing}
        attached = Loaded.made[-1].attached
    assert ("kexec:kernel_kexec", "kernel_kexec") in loaded
    assert ("kexec:machine_shutdown", "machine_shutdown") in loaded  # the second that is tried
    assert ("device:shutdown", "pci_device_shutdown") in loaded
    assert {("p", "kernel_kexec", "tk_call"), ("r", "kernel_kexec", "tk_call_return")} <= {
        *attached
    }
    assert ("p", "pci_device_shutdown", "tk_device") in attached
    assert ("p", "kho_radix_add_page", "tk_preserve") in attached
    assert not [a for a in attached if a[0] == "r" and a[1] == "machine_kexec"]
    assert missing["kexec:kernel_restart_prepare"].functions == ("kernel_restart_prepare",)
    assert "CONFIG_KPROBE_EVENTS_ON_NOTRACE" in missing["ring_buffer:resize"].reason
    assert {event for event, _ in loaded}.isdisjoint(missing)


def test_the_kernel_is_asked_once_whether_tracers_can_be_probed(
    made: Callable[..., Probes],
) -> None:
    probes = made(refused=())
    events = {p.event for p in probes.loaded}
    assert {"ring_buffer:resize", "ring_buffer:counters page_crossings"} <= events
    assert ("p", "rb_move_tail", "tk_page_crossing") in Loaded.made[-1].attached


def test_a_probe_that_cannot_be_attached_leaves_the_others(made: Callable[..., Probes]) -> None:
    probes = made(refused=("device_shutdown", "notifier_run", *NOTRACE))
    missing = {m.event: m.reason for m in probes.missing}
    assert "cannot be attached: device_shutdown: Invalid" in missing["kexec:device_shutdown"]
    assert "cannot be attached" in missing["kexec:notifier"]
    assert "kexec:machine_kexec" in {p.event for p in probes.loaded}


def test_control_files_are_probed_above_the_tracers(made: Callable[..., Probes]) -> None:
    with made() as probes:
        loaded = {p.event: p.function for p in probes.loaded if p.event.startswith("tracefs:")}
        fake = Loaded.made[-1]
    assert loaded == {
        "tracefs:write": "vfs_write", "tracefs:open": "vfs_open", "tracefs:truncate": "vfs_open",
        "tracefs:close": "__fput",
    }  # fmt: skip
    assert [a for a in fake.attached if "tracefs_" in a[2]] == [
        ("p", "vfs_write", "tk_tracefs_write"),
        ("p", "vfs_open", "tk_tracefs_open"),  # once: it records both
        ("p", "__fput", "tk_tracefs_close"),
    ]
    assert {"-DTK_FILE_DENTRY=72", "-DTK_SUPER_MAGIC=96", "-DTK_KIND_TRACEFS_WRITE=90"} <= {
        *Bpf.made[-1].cflags
    }
    mkdir = fake.functions[0x1000 + 16 * TRACEABLE.index("tracefs_syscall_mkdir")]
    assert FUNCTION.unpack(mkdir)[1] & PERSIST


def test_what_shares_a_probe_shares_its_failure(made: Callable[..., Probes]) -> None:
    probes = made(refused=("vfs_open", *NOTRACE))
    missing = {m.event for m in probes.missing}
    assert {"tracefs:open", "tracefs:truncate"} <= missing
    assert missing.isdisjoint(p.event for p in probes.loaded)


def test_functions_are_described_to_the_programs(made: Callable[..., Probes]) -> None:
    made()
    functions = Loaded.made[-1].functions
    address = 0x1000 + 16 * TRACEABLE.index("kimage_load_segment")
    fields = FUNCTION.unpack(functions[address])
    assert fields[:2] == (IDS["kexec:load_segment"], RETURNS_INT | PERSIST)
    sources = [fields[2 + 6 * i : 8 + 6 * i] for i in range(5)]
    assert sources == [
        (2, 0, 0, 1, 0, 0),
        (1, 8, 2, 0, 80, 32),
        (1, 8, 2, 0, 88, 32),
        (1, 8, 2, 0, 72, 32),
        (0, 0, 0, 0, 0, 0),
    ]
    kexec = functions[0x1000 + 16 * TRACEABLE.index("kernel_kexec")]
    assert FUNCTION.unpack(kexec)[1] & DOWN
    notifiers = functions[0x1000 + 16 * TRACEABLE.index("blocking_notifier_call_chain")]
    assert FUNCTION.unpack(notifiers)[1] & ONLY_DOWN
    file = functions[0x1000 + 16 * TRACEABLE.index("luo_preserve_file")]
    assert FUNCTION.unpack(file)[1] & PERSIST_DOWN


def test_only_the_subjects_asked_for_are_compiled(made: Callable[..., Probes]) -> None:
    probes = made(subjects=("kexec",))
    assert {p.event.partition(":")[0] for p in probes.loaded} == {"kexec"}
    assert "tk_device(" not in Bpf.made[-1].text
    assert "-DTK_KIND_KEXEC_NOTIFIER=12" in Bpf.made[-1].cflags


def test_records_come_out_as_they_went_in(made: Callable[..., Probes]) -> None:
    probes = made()
    record = RECORD.pack(9, 8, 1, 2, 3, 4, 5, 6, 1, 9 | RETURN, 0, b"kexec", b"name", b"driver")
    Loaded.made[-1].pending = [record, record]
    assert probes.poll(1) == record * 2
    assert probes.poll(1) == b""


def test_counters_and_losses(made: Callable[..., Probes]) -> None:
    probes = made(refused=("__rb_get_reader_page",))
    data = probes.counters()
    records = [unpack(data, at) for at in range(0, len(data), RECORD.size)]
    assert [r.cpu for r in records] == [0, 1]
    assert [r.values for r in records] == [(17, 5, 5, 2**64 - 1), (18, 5, 6, 2**64 - 1)]
    assert {(r.kind, r.name, r.driver) for r in records} == {
        (IDS["ring_buffer:counters"], "tk", "on 1408K x86-tsc")
    }
    assert probes.lost == 7
    fake = Loaded.made[-1]
    probes.close()
    probes.close()
    assert (fake.closed, probes.lost) == (1, 7)
    described = probes.describe()
    assert (described["version"], described["mode"], described["lost"]) == (1, "bpf", 7)
    assert {"event": "kexec:kernel_kexec", "function": "kernel_kexec"} in described["probes"]


def test_changes_bring_what_the_buffers_took_since(made: Callable[..., Probes], tree: Path) -> None:
    probes = made()
    change = RECORD.pack(9, 0, *[0] * 4, 5, 6, 1, IDS["tracefs:write"], 0, b"", b"f", b"tk")
    stats = tree / "sys/kernel/tracing/instances/tk/per_cpu/cpu1/stats"
    stats.write_text(stats.read_text().replace("entries: 11", "entries: 20"))
    Loaded.made[-1].pending = [change, change]
    data = probes.poll(1)
    assert data[: 2 * RECORD.size] == change * 2
    records = [unpack(data, at) for at in range(2 * RECORD.size, len(data), RECORD.size)]
    assert [r.values for r in records] == [(17, 0, 5, 0), (27, 9, 5, 0)]
    assert {(KINDS[r.kind].event, r.name, r.driver) for r in records} == {
        ("ring_buffer:deltas", "tk", "on 1408K x86-tsc")
    }
    Loaded.made[-1].pending = [change]
    data = probes.poll(1) + probes.counters()  # at once or, after less than a second, with these
    kinds = [KINDS[unpack(data, at).kind].event for at in range(0, len(data), RECORD.size)]
    assert sorted(kinds) == [
        *["ring_buffer:counters"] * 2, *["ring_buffer:deltas"] * 2, "tracefs:write",
    ]  # fmt: skip


def test_other_instances_are_left_alone(made: Callable[..., Probes]) -> None:
    """One whose file is open cannot be removed."""
    probes = made()
    other = RECORD.pack(9, 0, *[0] * 4, 5, 6, 1, IDS["tracefs:write"], 0, b"", b"f", b"other")
    Loaded.made[-1].pending = [other]
    assert probes.poll(1) == other


def test_headers_are_tried_in_order(
    made: Callable[..., Probes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOURCE, raising=False)
    tried = []

    class Picky(Bpf):
        def __init__(self, text: bytes, cflags: list[str]) -> None:
            tried.append(os.environ.get(SOURCE, ""))
            if tried[-1]:
                os.write(2, b"/virtual/main.c:1:1: error: not enough\n")
                raise Exception("Failed to compile BPF module <text>")
            super().__init__(text, cflags)

    monkeypatch.setattr(sys.modules["bcc"], "BPF", Picky)
    described = made().describe()
    assert (Path(tried[0]).name, tried[1:]) == ("headers", [""])
    assert described["headers"].endswith("/sys/kernel/kheaders.tar.xz")
    with pytest.raises(ProbesUnavailable, match=r"with /own: .*not enough.*--no-bpf"):
        made(headers=[Headers("/own", own=True)])


def test_what_cannot_be_compiled_says_the_compiler(
    made: Callable[..., Probes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        os.write(2, b"noise\n/virtual/main.c:7:1: error: unknown type name 'u99'\n")
        raise Exception("Failed to compile BPF module <text>")

    monkeypatch.setattr(sys.modules["bcc"], "BPF", fail)
    with pytest.raises(ProbesUnavailable, match=r"unknown type name 'u99'.*--no-bpf"):
        made()


def test_a_saved_tree_cannot_be_probed(tree: Path) -> None:
    with pytest.raises(ProbesUnavailable, match="only the running kernel"):
        prepare_probes(Sysroot(tree))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"sys/kernel/security/lockdown": b"none integrity [confidentiality]\n"}, "lockdown"),
        ({}, "CONFIG_KPROBE_EVENTS"),
    ],
)
def test_what_stands_against_probes_is_said(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], says: str
) -> None:
    root = SimpleNamespace(live=True, get=files.get, exists=files.__contains__)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ProbesUnavailable, match=says):
        prepare_probes(root)  # type: ignore[arg-type]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ProbesUnavailable, match="sudo"):
        prepare_probes(root)  # type: ignore[arg-type]


def test_without_bcc(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(ProbesUnavailable, match="python3-bpfcc"):
        prepare_probes(Live(tree))
    monkeypatch.setitem(sys.modules, "bcc", SimpleNamespace(__file__="/lib/bcc.py"))
    with pytest.raises(ProbesUnavailable, match="another package"):
        prepare_probes(Live(tree))


def test_struct_formats_have_no_padding() -> None:
    assert FUNCTION.size == struct.calcsize("=" + FUNCTION.format[1:])


def test_hidden_addresses_are_said(made: Callable[..., Probes], tree: Path) -> None:
    kallsyms = tree / "proc" / "kallsyms"
    kallsyms.write_text(re.sub(r"(?m)^[0-9a-f]+", "0" * 16, kallsyms.read_text()))
    with pytest.raises(ProbesUnavailable, match="kptr_restrict"):
        made()


def test_an_instance_that_is_not_there_has_no_counters(made: Callable[..., Probes]) -> None:
    assert made(instance="other").counters() == b""


def test_devices_without_names_are_said(made: Callable[..., Probes], tree: Path) -> None:
    (tree / "sys/kernel/btf/vmlinux").unlink()
    probes = made()
    reasons = {m.event: m.reason for m in probes.missing}
    assert "CONFIG_DEBUG_INFO_BTF" in reasons["device:shutdown names"]
    assert not any(flag.startswith("-DTK_DEVICE_NAME") for flag in Bpf.made[-1].cflags)
    assert ("p", "pci_device_shutdown", "tk_device") in Loaded.made[-1].attached
    assert "CONFIG_DEBUG_INFO_BTF" in reasons["tracefs:write"]
    assert not any("TK_FILE_INODE" in flag for flag in Bpf.made[-1].cflags)


def test_what_was_compiled_is_taken_again(
    made: Callable[..., Probes], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made().describe()["compiled"] is True
    (bpf,) = Bpf.made
    assert bpf.cleaned == 1
    monkeypatch.setitem(sys.modules, "bcc", None)  # BCC need not even be there
    again = made()
    assert (again.describe()["compiled"], len(Bpf.made)) == (False, 1)
    assert Loaded.made[0].objects == Loaded.made[1].objects
    assert Loaded.made[1].pmu == Pmu(8, 3)
    assert Loaded.made[1].recorder == os.getpid()


@pytest.mark.parametrize("changed", ["sys/kernel/notes", "proc/version"])
def test_another_kernel_has_programs_of_its_own(
    made: Callable[..., Probes], tree: Path, changed: str
) -> None:
    made()
    (tree / changed).write_bytes(b"another")
    assert made().describe()["compiled"] is True
    assert len(list((tree / cache.CACHE).iterdir())) == 2


def test_offsets_are_part_of_what_is_compiled(made: Callable[..., Probes], tree: Path) -> None:
    made()
    (tree / "sys/kernel/btf/vmlinux").unlink()
    assert made().describe()["compiled"] is True
