"""A boot's knowledge only grows: a later snapshot forgets nothing that an earlier one knew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, Machine, event, new_machine, old_machine
from tests.support.sessions.recovering import run, take
from tracekit.capture.save.boot_files import Saving, refresh_boot
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import Diagnostic
from tracekit.remarks import Remarks, no_progress
from tracekit.session import Session, SessionWriter
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot

REPO = Path(__file__).parents[3]
TRACING = "sys/kernel/tracing"
MODULE = 0xFFFFFFFFC0000000
FIRST = {
    f"{TRACING}/saved_cmdlines": b"1 init\n7 sh\n8 cat\n9 <...>\n",
    f"{TRACING}/saved_tgids": b"7 7\n8 8\n",
    f"{TRACING}/printk_formats": b'0xffffffff82000000 : "one"\n0xffffffffc0000000 : "two"\n',
    f"{TRACING}/kprobe_events": b"p:kprobes/gone do_exit\np:kprobes/again do_fork\n",
    f"{TRACING}/events/kprobes/gone/format": event("gone", 1500).encode(),
    f"{TRACING}/events/kprobes/again/format": event("again", 1501).encode(),
    "proc/modules": b"old 8192 2 - Live 0x%016x\nstays 4096 1 - Live 0x%016x\n"
    % (MODULE, MODULE + 0x10000),
    "dmesg": b"[    0.000000] Linux version\n[    1.000000] one\n[    2.000000] two\n",
}
SECOND = {
    f"{TRACING}/saved_cmdlines": b"1 init\n7 bash\n8 <...>\n10 new\n",
    f"{TRACING}/saved_tgids": b"10 10\n",
    f"{TRACING}/printk_formats": b'0xffffffff82000000 : "one"\n',
    f"{TRACING}/kprobe_events": b"p:kprobes/other do_exit\np:kprobes/again do_fork\n",
    f"{TRACING}/events/kprobes/other/format": event("other", 1502).encode(),
    f"{TRACING}/events/kprobes/again/format": event("again", 1503).encode(),
    "proc/modules": b"stays 4096 7 - Live 0x%016x\n" % (MODULE + 0x10000),
    "dmesg": b"[    2.000000] two\n[    3.000000] three\n",
}


def with_modules(*symbols: tuple[int, str, str]) -> dict[str, bytes]:
    core = f"{OLD_TEXT:016x} T _text\n{OLD_TEXT:016x} T _stext\n{OLD_TEXT + 0x9000:016x} T _etext\n"
    lines = (f"{address:016x} t {name}\t[{module}]\n" for address, name, module in symbols)
    return {"proc/kallsyms": (core + "".join(lines)).encode()}


OLD_SYMBOL = (MODULE, "old_function", "old")
STAYS = (MODULE + 0x10000, "stays_function", "stays")


def first() -> Machine:
    return replace(old_machine(), files=FIRST | with_modules(OLD_SYMBOL, STAYS))


def second() -> Machine:
    return replace(old_machine(), events=2, files=SECOND | with_modules(STAYS))


@pytest.fixture
def both(tmp_path: Path) -> Session:
    take(first(), tmp_path, "first")
    return take(second(), tmp_path, "second")[1]


def lines(session: Session, name: str) -> list[str]:
    return session.read(f"boots/0/earlier/{name}").decode().splitlines()


def test_the_files_of_the_boot_are_the_newest(both: Session, tmp_path: Path) -> None:
    names = both.list("boots/0/tracefs/")
    assert "boots/0/tracefs/events/kprobes/other/format" in names
    assert not [n for n in names if "/gone/" in n or "/event2/" in n]
    for name in ("saved_cmdlines", "kprobe_events"):
        newest = (tmp_path / "second" / TRACING / name).read_bytes()
        assert both.read(f"boots/0/tracefs/{name}") == newest


def test_lines_that_are_gone_are_kept(both: Session) -> None:
    when = "# gone at 32.16 s after the boot"
    assert lines(both, "saved_cmdlines") == [when, "7 sh", "8 cat"]
    assert lines(both, "saved_tgids") == [when, "7 7", "8 8"]
    assert lines(both, "printk_formats") == [when, '0xffffffffc0000000 : "two"']
    assert lines(both, "kprobe_events") == [when, "p:kprobes/gone do_exit"]
    assert lines(both, "kallsyms") == [when, f"{MODULE:016x} t old_function\t[old]"]
    assert [line.split()[0] for line in lines(both, "modules")[1:]] == ["old"]
    assert both.read("boots/0/dmesg").splitlines() == [
        b"[    0.000000] Linux version", b"[    1.000000] one", b"[    2.000000] two",
        b"[    3.000000] three",
    ]  # fmt: skip


def everything_is_known(session: Session) -> None:
    boot = Boot(session, 0)
    known = {i: boot.event_name(i) for i in boot.event_ids()}
    assert known == {
        100: "sys:event0", 101: "sys:event1", 102: "sys:event2", 1500: "kprobes:gone",
        1501: "kprobes:again", 1502: "kprobes:other", 1503: "kprobes:again",
    }  # fmt: skip
    assert boot.format(1500) is not None
    assert boot.context.comms == {1: "init", 7: "bash", 8: "cat", 10: "new"}
    assert boot.task_names[7] == ("bash", "sh")
    assert boot.context.printk_formats[MODULE] == "two"
    for address, name in ((MODULE + 5, "old_function"), (MODULE + 0x10005, "stays_function")):
        symbol = boot.context.symbols.lookup(address)
        assert symbol is not None
        assert symbol.name == name
    assert boot.diagnostics == []


def test_all_of_it_is_known_to_the_reader(both: Session) -> None:
    everything_is_known(both)


def test_an_id_that_was_given_to_another_event(tmp_path: Path) -> None:
    """The newest is used; the other is not dropped, and it is said."""
    take(first(), tmp_path, "first")
    changed = f"{TRACING}/events/kprobes/again/format"
    later = event("other", 1500) + ", REC->more\n"
    files = {
        f"{TRACING}/events/kprobes/other/format": later.encode(),
        changed: event("again", 1501).replace("int x", "int y").encode(),
        f"{TRACING}/events/sys/event0/format": event("event0", 100).encode() + b"/* enums */\n",
    }
    _, session = take(replace(old_machine(), files=files), tmp_path, "later")
    boot = Boot(session, 0)
    assert boot.event_name(1500) == "kprobes:other"
    again = boot.format(1501)
    assert again is not None
    assert again.field("y") is not None
    said = [d.message for d in boot.diagnostics if d.code == "format-contradiction"]
    assert [m.split(":")[0] for m in said] == [
        "id 1501 had another format at an earlier save, of the same name kprobes",
        "id 1500 was kprobes",
    ]
    kept = json.loads(session.read("boots/0/earlier/formats.json"))["formats"]
    assert {f["name"] for f in kept} == {"again", "gone", "event0"}


def test_a_third_snapshot_like_the_first(both: Session, tmp_path: Path) -> None:
    _, session = take(first(), tmp_path, "third")
    boot = Boot(session, 0)
    assert {1500, 1501, 1502, 1503} <= set(boot.event_ids())
    assert boot.task_names == {
        1: ("init",), 7: ("sh", "bash"), 8: ("cat",), 10: ("new",)
    }  # fmt: skip
    assert boot.diagnostics == []
    assert lines(session, "saved_cmdlines") == [
        "# gone at 32.16 s after the boot", "7 bash", "10 new"
    ]  # fmt: skip


def test_what_the_kernel_hides_does_not_replace_what_it_showed(tmp_path: Path) -> None:
    _, session = take(first(), tmp_path, "first")
    before = session.read("boots/0/kallsyms")
    hidden = {
        "proc/kallsyms": b"0000000000000000 T _text\n0000000000000000 t old_function\t[old]\n",
        "proc/modules": b"old 8192 2 - Live 0x0000000000000000\n",
        "proc/iomem": b"00000000-00000000 : Reserved\n",
    }
    result, session = take(replace(first(), text_address=0, files=hidden), tmp_path, "hidden")
    assert session.read("boots/0/kallsyms") == before
    assert session.read("boots/0/modules") == FIRST["proc/modules"]
    assert session.read("boots/0/iomem") == b"00000000-00000fff : Reserved\n"
    assert session.kernel(0)["text_address"] == OLD_TEXT
    assert [d.code for d in result.diagnostics].count("addresses-hidden") == 3
    _, session = take(first(), tmp_path, "shown")
    assert not session.has("boots/0/earlier/kallsyms")


def test_what_cannot_be_read_any_more_stays(tmp_path: Path) -> None:
    take(first(), tmp_path, "first")
    later = first().write(tmp_path / "later")
    unreadable = later / TRACING / "events/kprobes/gone/format"
    unreadable.unlink()
    os.mkfifo(unreadable)
    for rel in (f"{TRACING}/printk_formats", f"{TRACING}/instances/tk/per_cpu/cpu0/stats",
                "proc/kallsyms", "proc/modules", "proc/cmdline", "dmesg"):  # fmt: skip
        (later / rel).unlink()
    _, before = take(first(), tmp_path, "again")
    snapshot(Sysroot(later), tmp_path / "S")
    session = Session.open(tmp_path / "S")
    assert {n for n in session.list("boots/") if session.read(n) != before.read(n)} == set()
    assert session.list("boots/") == before.list("boots/")


def test_another_boot_inherits_nothing(tmp_path: Path) -> None:
    """Not what a run that was killed left of another boot at the same place, either."""
    tree = first().write(tmp_path / "first")
    snapshot(Sysroot(tree), tmp_path / "S")
    (tmp_path / "S/boots/0/kernel.json").unlink()
    manifest = tmp_path / "S/manifest.json"
    manifest.write_text(manifest.read_text().replace('"snapshot"', '"writing"'))
    _, session = take(replace(second(), boot_id="3" * 36), tmp_path, "second")
    assert session.boots == [0]
    assert session.list("boots/0/earlier/") == []
    assert 1500 not in Boot(session, 0).event_ids()
    assert b"Linux version" not in session.read("boots/0/dmesg")


def test_the_new_boot_is_known_better_the_second_time(tmp_path: Path) -> None:
    """``recover`` saves the running boot the same way."""
    take(old_machine(), tmp_path)
    run(tmp_path, replace(new_machine(), files=FIRST))
    _, session = run(tmp_path, replace(new_machine(), files=SECOND), name="again")
    assert Boot(session, 1).context.comms[8] == "cat"
    assert 1500 in Boot(session, 1).event_ids()


def test_formats_that_are_damaged_are_put_aside(both: Session, tmp_path: Path) -> None:
    kept = tmp_path / "S/boots/0/earlier/formats.json"
    kept.write_text("damaged")
    assert "format-unreadable" in {d.code for d in remarks_of(Session.open(tmp_path / "S"))}
    _, session = take(first(), tmp_path, "third")
    assert session.read("boots/0/other-copies/formats.json") == b"damaged"
    assert 1502 in Boot(session, 0).event_ids()


def remarks_of(session: Session) -> list[Diagnostic]:
    boot = Boot(session, 0)
    list(boot.event_ids())
    return list(boot.diagnostics)


# -- while a recorder runs ------------------------------------------------------------------------


def refreshed(tmp_path: Path, machine: Machine, name: str) -> Session:
    """The session after a running recorder saved again what changes."""
    with SessionWriter.open(tmp_path / "S") as writer:
        root = Sysroot(machine.write(tmp_path / name))
        refresh_boot(Saving(root, writer, 0, Remarks(), no_progress, {}))
        writer.finish("snapshot")
    return Session.open(tmp_path / "S")


def test_a_refresh_learns_and_forgets_nothing(tmp_path: Path) -> None:
    take(first(), tmp_path, "first")
    session = refreshed(tmp_path, second(), "second")
    everything_is_known(session)
    assert session.diagnostics == []
    names = session.list("boots/0/tracefs/events/")
    assert "boots/0/tracefs/events/header_page" in names
    assert not [n for n in names if "/gone/" in n]


def test_a_probe_that_is_defined_anew_has_another_id(tmp_path: Path) -> None:
    """Nothing but its format tells."""
    take(first(), tmp_path, "first")
    again = {f"{TRACING}/events/kprobes/gone/format": event("gone", 1600).encode()}
    session = refreshed(tmp_path, replace(first(), files=first().files | again), "again")
    boot = Boot(session, 0)
    assert boot.event_name(1500) == boot.event_name(1600) == "kprobes:gone"


def test_a_refresh_without_news_writes_nothing_but_counters(tmp_path: Path) -> None:
    take(first(), tmp_path, "first")

    def inodes() -> dict[str, int]:
        files = (f for f in (tmp_path / "S").rglob("*") if f.is_file())
        return {str(f): f.stat().st_ino for f in files if "manifest" not in f.name}

    before = inodes()
    refreshed(tmp_path, first(), "same")
    assert inodes() == before
    later = first().files | {f"{TRACING}/instances/tk/per_cpu/cpu0/stats": b"entries: 6\n"}
    refreshed(tmp_path, replace(first(), files=later), "later")
    assert [n for n, inode in inodes().items() if inode != before.get(n)] == [
        str(tmp_path / "S/boots/0/tracefs/instances/tk/per_cpu/cpu0/stats")
    ]


# -- killed ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_snapshot_killed_at_every_step(tmp_path: Path) -> None:
    """The run after it has all that a run without a kill has, to the byte."""
    some = [n for n in SECOND if n.endswith(("cmdlines", "format", "dmesg"))]
    few = {n: FIRST[n] for n in FIRST if n in some or "/gone/" in n}
    take(replace(old_machine(), events=1, files=few), tmp_path, "first")
    later = {n: SECOND[n] for n in some}
    tree = replace(old_machine(), events=1, files=later).write(tmp_path / "second")
    (tmp_path / "work").mkdir()
    words = ["tests.support.kill_lab", tree, tmp_path / "S", tmp_path / "work", "snapshot"]
    done = subprocess.run([sys.executable, "-m", *words], cwd=REPO, stdout=-1, check=True)
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(points) > 40
    for point in points:
        assert point["same"], point


def test_the_last_save_writes_what_has_changed(tmp_path: Path) -> None:
    """Formats, symbols and what cannot change stay the files that they are."""
    tree = first().write(tmp_path / "tree")
    (tree / "proc/cpuinfo").write_bytes(b"processor: 0\n")
    snapshot(Sysroot(tree), tmp_path / "S")
    whole = {f: f.stat().st_ino for f in (tmp_path / "S").rglob("*") if f.is_file()}
    again = {f"{TRACING}/events/kprobes/new/format": event("new", 1700).encode()}
    for name, data in again.items():
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes(data)
    (tree / "proc/cpuinfo").write_bytes(b"processor: another\n")
    with SessionWriter.open(tmp_path / "S") as writer:
        refresh_boot(Saving(Sysroot(tree), writer, 0, Remarks(), no_progress, {}), last=True)
        writer.finish("snapshot")
    changed = {
        str(f.relative_to(tmp_path / "S"))
        for f in (tmp_path / "S").rglob("*")
        if f.is_file() and whole.get(f) != f.stat().st_ino
    }
    (archive,) = [name for name in changed if name.startswith("formats/")]
    assert (tmp_path / "S" / archive).stat().st_size < 1000
    assert changed - {archive} <= {"manifest.json", "boots/0/formats.json", "boots/0/clocks.json"}
    assert Boot(Session.open(tmp_path / "S"), 0).event_name(1700) == "kprobes:new"
