"""setup: what it installs below a root, and that nothing foreign is touched."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tracekit.capture.cmdline.bootloader import GRUB_FILE, MARK
from tracekit.capture.cmdline.setup import (
    UNITS,
    Options,
    apply,
    check_arrived,
    make_plan,
    start,
    take_back,
    undo,
)
from tracekit.capture.cmdline.wanted import kho_parameters as parameters
from tracekit.cli import main
from tracekit.errors import SourceError, UsageError
from tracekit.parameters import parse_cmdline

UNIT_DIRECTORY = "etc/systemd/system"


def system(tmp_path: Path, *paths: str) -> Path:
    """The root of an installed system that has these files, and directories where they end in /."""
    root = tmp_path / "root"
    root.mkdir()
    for path in paths:
        target = root / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("")
    return root


def options(root: Path) -> Options:
    return Options(root, kernel="/boot/vmlinuz-7.3.4", program="/usr/bin/tracekit", carrier="kho")


def tree(root: Path) -> dict[str, str]:
    """Every file and symlink below a root, with its content."""
    return {
        str(p.relative_to(root)): f"-> {p.readlink()}" if p.is_symlink() else p.read_text()
        for p in root.rglob("*")
        if p.is_symlink() or p.is_file()
    }


# -- the command line -------------------------------------------------------------------------


def test_the_parameters() -> None:
    command = parse_cmdline(parameters("8M"))
    assert command.kho is True and command.ignored == ()
    assert [(m.name, m.size) for m in command.reserve_mem] == [("tkA", 8 << 20), ("tkB", 8 << 20)]
    (instance,) = command.instances
    assert (instance.name, instance.region, instance.flags) == ("tk", "tkA", ("traceoff",))


@pytest.mark.parametrize("size", ["", "4", "4m", "0M", "-4M", "4M:1M", "4M kho=off", "04M"])
def test_a_size_that_is_none(size: str) -> None:
    if size == "4":
        assert "reserve_mem=4:" in parameters(size)  # bytes; the kernel takes that too
        return
    with pytest.raises(UsageError, match="--size"):
        parameters(size)


def test_grub_reads_what_was_written(tmp_path: Path) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    apply(options(root), make_plan(options(root)))
    script = f'GRUB_CMDLINE_LINUX="quiet"; . {root}/{GRUB_FILE}; printf %s "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"quiet {parameters('4M')}"


# -- installing -------------------------------------------------------------------------------


def test_apply_and_undo(tmp_path: Path) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/", "usr/sbin/update-grub")
    before = tree(root)
    plan = make_plan(options(root))
    assert plan.loader.update == ("update-grub",)
    done = apply(options(root), plan)
    assert len(done) == len(UNITS) + 1 and all(line.startswith("wrote: ") for line in done)
    for unit, target in UNITS.items():
        link = root / UNIT_DIRECTORY / f"{target}.wants" / unit
        assert link.resolve() == root / UNIT_DIRECTORY / unit
        assert stat.S_IMODE(link.stat().st_mode) == 0o644
        assert stat.S_IMODE(link.parent.stat().st_mode) == 0o755
    once = tree(root)
    assert all(line.startswith("as it was") for line in apply(options(root), plan))
    assert tree(root) == once
    done, loader = undo(options(root))
    assert len(done) == len(UNITS) + 1 and loader.update == ("update-grub",)
    assert tree(root) == before
    assert undo(options(root))[0] == []


def test_another_size_later(tmp_path: Path) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    apply(options(root), make_plan(options(root)))
    bigger = replace(options(root), size="64M")
    done = apply(bigger, make_plan(bigger))
    assert [line for line in done if not line.startswith("as it was")] == [
        f"changed: {root / GRUB_FILE}"
    ]
    assert "reserve_mem=64M:" in (root / GRUB_FILE).read_text()


def test_the_units_say_what_was_asked_for(tmp_path: Path) -> None:
    root = system(tmp_path, "boot/vmlinuz-7.3.4", "boot/initrd.img-7.3.4")
    plan = make_plan(options(root))
    load = plan.files[f"{UNIT_DIRECTORY}/tracekit-load.service"]
    command = (
        "ExecStart=/usr/bin/tracekit handover --load-only --kernel /boot/vmlinuz-7.3.4 "
        "--initrd /boot/initrd.img-7.3.4\n"
    )
    assert command in load
    given = make_plan(replace(options(root), session="/srv/kexec", initrd="/boot/other"))
    load = given.files[f"{UNIT_DIRECTORY}/tracekit-load.service"]
    assert "--initrd /boot/other -o /srv/kexec\n" in load
    assert "record -o /srv/kexec\n" in given.files[f"{UNIT_DIRECTORY}/tracekit-record.service"]
    assert not any(re.search("@[A-Z]+@", text) for text in given.files.values())


def test_finished_sessions_are_handed_on(tmp_path: Path) -> None:
    root = system(tmp_path)
    before = tree(root)
    after, recover = (
        f"{UNIT_DIRECTORY}/tracekit-{n}.service" for n in ("after-recover", "recover")
    )
    assert after not in make_plan(options(root)).files
    for target, words in (
        ("/srv/sessions/", "--recovered --to /srv/sessions/"),
        ("/usr/bin/rsync-away", "--recovered --run /usr/bin/rsync-away"),
        ("/usr/bin/rsync -a", "--recovered --run '/usr/bin/rsync -a'"),
    ):
        wanted = replace(options(root), after_recover=target)
        plan = make_plan(wanted)
        assert f"ExecStart=/usr/bin/tracekit fleet hand-on {words}\n" in plan.files[after]
        assert "OnSuccess=tracekit-after-recover.service\n" in plan.files[recover]
        apply(wanted, plan)
        assert (root / after).exists()
    apply(options(root), make_plan(options(root)))
    assert not (root / after).exists() and "OnSuccess" not in (root / recover).read_text()
    apply(wanted, plan)
    undo(wanted)
    assert tree(root) == before
    for wrong in ("srv/x/", "/srv/../x/", "rsync", "/usr/bin/x $(y)", "/a b/"):
        with pytest.raises(UsageError, match="--after-recover"):
            make_plan(replace(options(root), after_recover=wrong))


def test_the_metrics_go_where_node_exporter_reads(tmp_path: Path) -> None:
    """Else into a folder of their own."""
    recover = f"{UNIT_DIRECTORY}/tracekit-recover.service"
    root = system(tmp_path)
    command = "ExecStopPost=-/usr/bin/tracekit report{} --format openmetrics -o {}/tracekit.prom\n"
    unit = make_plan(options(root)).files[recover]
    assert command.format(" --recovered", "/var/lib/tracekit-metrics") in unit
    (root / "var/lib/prometheus/node-exporter").mkdir(parents=True)
    given = make_plan(replace(options(root), session="/srv/kexec"))
    assert (
        command.format(" /srv/kexec", "/var/lib/prometheus/node-exporter") in given.files[recover]
    )
    named = make_plan(replace(options(root), metrics="/srv/metrics/kexec.prom"))
    assert "-o /srv/metrics/kexec.prom\n" in named.files[recover]
    with pytest.raises(UsageError, match="--metrics"):
        make_plan(replace(options(root), metrics="kexec.prom"))


def test_kernel_install_shares_its_line(tmp_path: Path) -> None:
    root = system(tmp_path)
    line = root / "etc/kernel/cmdline"
    line.parent.mkdir(parents=True)
    line.write_text("root=UUID=1 quiet\n")
    apply(options(root), make_plan(options(root)))
    assert line.read_text() == f"root=UUID=1 quiet {parameters('4M')}\n"
    bigger = replace(options(root), size="16M")
    apply(bigger, make_plan(bigger))
    assert line.read_text() == f"root=UUID=1 quiet {parameters('16M')}\n"
    undo(options(root))
    assert line.read_text() == "root=UUID=1 quiet\n"


def test_comments_in_kernel_installs_line_stay_comments(tmp_path: Path) -> None:
    root = system(tmp_path)
    line = root / "etc/kernel/cmdline"
    line.parent.mkdir(parents=True)
    line.write_text("# ours\nroot=UUID=1\nquiet\n")
    for _ in range(2):
        apply(options(root), make_plan(options(root)))
        assert line.read_text() == f"# ours\nroot=UUID=1 quiet {parameters('4M')}\n"
    undo(options(root))
    assert line.read_text() == "# ours\nroot=UUID=1 quiet\n"


# -- what is not ours -------------------------------------------------------------------------


def test_a_foreign_unit_is_not_replaced(tmp_path: Path) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    foreign = root / UNIT_DIRECTORY / "tracekit-load.service"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("[Unit]\n")
    before = tree(root)
    with pytest.raises(SourceError, match=r"tracekit-load\.service: not written by tracekit"):
        apply(options(root), make_plan(options(root)))
    assert tree(root) == before
    assert undo(options(root))[0] == [
        f"left alone, for tracekit setup has not written it: {UNIT_DIRECTORY}/{foreign.name}"
    ]
    assert tree(root) == before


@pytest.mark.parametrize("place", ["etc", "etc/systemd/system", f"{UNIT_DIRECTORY}/x"])
def test_symlinks_are_not_followed(tmp_path: Path, place: str) -> None:
    root = system(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    link = root / place.replace("/x", "/tracekit-load.service")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "file" if place.endswith("/x") else outside)
    with pytest.raises(SourceError, match="symlink"):
        apply(options(root), make_plan(options(root)))
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": "boot/vmlinuz"},
        {"kernel": "/boot/a b"},
        {"kernel": "/boot/../etc/x"},
        {"kernel": "/boot/%n"},
        {"initrd": '/boot/"'},
        {"session": "relative"},
        {"session": "/var/lib/x\nExecStartPre=/bin/true"},
        {"program": "tracekit"},
        {"program": "/usr/bin/env A=$HOME tracekit"},
    ],
)
def test_what_cannot_stand_in_a_unit(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        make_plan(replace(options(system(tmp_path)), **wrong))  # type: ignore[arg-type]


def test_a_root_that_is_none(tmp_path: Path) -> None:
    missing = options(tmp_path / "missing")
    with pytest.raises(SourceError, match="--root"):
        apply(missing, make_plan(missing))


def test_commands_that_fail() -> None:
    assert start([("true",)]) == []
    (failure,) = start([("sh", "-c", "echo no grub here; exit 3")])
    assert "exit code 3: no grub here" in failure
    (failure,) = start([("/nonexistent/update-grub",)])
    assert "nonexistent" in failure


# -- the command ------------------------------------------------------------------------------


def test_the_command_shows_and_installs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    command = [
        "setup",
        "--root",
        str(root),
        "--kernel",
        "/boot/k",
        "--program",
        "/usr/bin/tracekit",
        "--carrier",
        "kho",
    ]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert parameters("4M") in shown and "[Unit]" in shown
    assert not (root / GRUB_FILE).exists()
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"][GRUB_FILE].startswith(MARK)
    assert main([*command, "--apply"]) == 0
    assert "in the installed system run: grub-mkconfig" in capsys.readouterr().err
    assert (root / GRUB_FILE).read_text() == document["files"][GRUB_FILE]
    assert main(["setup", "--root", str(root), "--undo"]) == 0
    assert not (root / GRUB_FILE).exists()
    assert main([*command, "--apply", "--undo"]) == 2


# -- carve-outs -------------------------------------------------------------------------------

PLACE = 0x70000000
CARVED = "memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70000000:8M"


def carving(root: Path) -> Options:
    return replace(options(root), carrier="carveout", address=PLACE)


def test_grub_gets_an_escaped_dollar(tmp_path: Path) -> None:
    """What grub-mkconfig copies into grub.cfg; run through the real one by hand."""
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    apply(carving(root), make_plan(carving(root)))
    script = f'GRUB_CMDLINE_LINUX="quiet"; . {root}/{GRUB_FILE}; printf %s "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"quiet {CARVED}".replace("$", r"\$")
    again = replace(carving(root), address=None)  # the address stays without being named
    assert all(line.startswith("as it was") for line in apply(again, make_plan(again)))
    undo(options(root))
    assert not (root / GRUB_FILE).exists()


def test_from_kho_to_a_carve_out_and_back(tmp_path: Path) -> None:
    root = system(tmp_path)
    line = root / "etc/kernel/cmdline"
    line.parent.mkdir(parents=True)
    line.write_text("root=x memmap=4K$0x1000\n")
    for wanted in (options(root), carving(root), options(root)):
        apply(wanted, make_plan(wanted))
        text = line.read_text()
        assert text.startswith("root=x memmap=4K$0x1000 ") and text.count("trace_instance") == 1
    apply(carving(root), make_plan(carving(root)))
    assert "%0x70000000-1+2" in line.read_text() and "kho" not in line.read_text()
    undo(options(root))
    assert line.read_text() == "root=x memmap=4K$0x1000\n"


@pytest.mark.parametrize("before", [None, f"{MARK}\nGRUB_CMDLINE_LINUX=x\n"])
def test_a_lost_dollar_is_taken_back(
    tmp_path: Path, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live root's path is the image's here, and grub-mkconfig one that drops backslashes."""
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/", "boot/grub/")
    if before is not None:
        (root / GRUB_FILE).write_text(before)
    cfg = root / "boot/grub/grub.cfg"
    ran: list[tuple[str, ...]] = []

    def mkconfig(commands: list[tuple[str, ...]]) -> list[str]:
        ran.extend(commands)
        file = root / GRUB_FILE
        text = file.read_text() if file.exists() else ""
        words = text.rpartition("$GRUB_CMDLINE_LINUX ")[2].strip('"\n')
        cfg.write_text(f"linux /vmlinuz root=x {words.replace(chr(92), '')}\n")
        return []

    monkeypatch.setattr("tracekit.capture.cmdline.setup.start", mkconfig)
    plan = make_plan(carving(root))
    apply(carving(root), plan)
    mkconfig([plan.loader.update])
    back = check_arrived(carving(root), plan.loader, plan.parameters)
    assert back.broken == (CARVED.split(maxsplit=1)[0],)
    assert take_back(carving(root), plan) == []
    assert [words[0] for words in ran] == ["grub-mkconfig"] * 2
    assert (before is None) == (not (root / GRUB_FILE).exists())
    assert before is None or (root / GRUB_FILE).read_text() == before
    assert "memmap" not in cfg.read_text()


def test_the_command_says_which_carrier_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = system(tmp_path, "etc/default/grub", "etc/default/grub.d/")
    command = [
        "setup",
        "--root",
        str(root),
        "--kernel",
        "/boot/k",
        "--program",
        "/usr/bin/tracekit",
    ]
    assert main([*command, "--carrier", "carveout"]) == 3
    assert "name one with --address" in capsys.readouterr().err
    command += ["--carrier", "carveout", "--address", "0x70000000"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("# carrier: carveout: no memmap=")
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["carrier"], document["parameters"]) == ("carveout", CARVED)
    assert main([*command[:-1], "here"]) == 2
