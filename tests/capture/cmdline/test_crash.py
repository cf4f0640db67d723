"""setup --crash: what it installs for each kind of kdump, and takes out again."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tracekit.capture.cmdline.crash import HOOK, UNIT, install_crash, plan_crash, undo_crash
from tracekit.cli import main
from tracekit.errors import SourceError, UsageError

UNIT_FILE = f"etc/systemd/system/{UNIT}"
KDUMP_CONF = "path /var/crash\ncore_collector makedumpfile -l -d 23\nextra_bins /usr/bin/lz4\n"


def system(tmp_path: Path, **files: str) -> Path:
    """The root of a system; in names of files ``__`` is a slash."""
    root = tmp_path / "root"
    for name, text in {"proc__cmdline": "quiet crashkernel=256M\n", **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def tree(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): f"-> {p.readlink()}" if p.is_symlink() else p.read_text()
        for p in root.rglob("*")
        if p.is_symlink() or p.is_file()
    }


def fedora(tmp_path: Path) -> Path:
    return system(tmp_path, **{"etc__kdump.conf": KDUMP_CONF})


def test_a_unit_before_debians_dump(tmp_path: Path) -> None:
    """Their crash kernel starts kdump-tools-dump.service alone: that must want it."""
    root = system(tmp_path, **{"etc__default__kdump-tools": 'MAKEDUMP_ARGS="-c -d 23"\n'})
    plan = plan_crash(root, command="/usr/bin/tracekit")
    assert plan.tools == ("systemd", "kdump-tools") and plan.notes == ()
    assert set(plan.files) == {UNIT_FILE}
    unit = plan.files[UNIT_FILE]
    assert "ExecStart=/usr/bin/tracekit recover\n" in unit and "@" not in unit.split("# Hard")[0]
    assert "ConditionPathExists=/proc/vmcore\n" in unit and "SuccessAction" not in unit
    before = re.findall(r"^Before=(.*)$", unit, re.M)
    assert "kdump-tools-dump.service" in before[0].split()
    install_crash(root, plan)
    for target in ("basic.target", "kdump-tools-dump.service", "kdump-tools.service"):
        link = root / f"etc/systemd/system/{target}.wants/{UNIT}"
        assert link.readlink() == Path(f"../{UNIT}") and link.exists()
        assert target in unit.split("[Install]")[1]


def test_a_script_before_fedoras_dump(tmp_path: Path) -> None:
    root = fedora(tmp_path)
    plan = plan_crash(root, "/srv/S", "/usr/bin/tracekit")
    install_crash(root, plan)
    assert plan.tools == ("systemd", "kdump") and ("kdumpctl", "restart") in plan.update
    assert stat.S_IMODE((root / HOOK).stat().st_mode) == 0o755
    assert 'chroot "$root" /usr/bin/tracekit recover /srv/S\n' in (root / HOOK).read_text()
    conf = (root / "etc/kdump.conf").read_text()
    assert conf == f"{KDUMP_CONF}# Installed by tracekit setup.\nextra_bins /usr/sbin/chroot\n"
    assert install_crash(root, plan_crash(root, "/srv/S", "/usr/bin/tracekit")) == [
        f"as it was: {root / rel}" for rel in plan.files
    ]


@pytest.mark.parametrize("instead", [False, True])
def test_a_session_instead_of_a_dump(tmp_path: Path, instead: bool) -> None:
    plan = plan_crash(fedora(tmp_path), command="/usr/bin/tracekit", instead=instead)
    assert ("\nSuccessAction=reboot-force\n" in plan.files[UNIT_FILE]) is instead
    assert ("systemctl reboot -f" in plan.files[HOOK]) is instead


def test_undo_leaves_nothing_behind(tmp_path: Path) -> None:
    root = fedora(tmp_path)
    before = tree(root)
    install_crash(root, plan_crash(root, command="/usr/bin/tracekit"))
    assert tree(root) != before
    assert len(undo_crash(root)) == 3
    assert tree(root) == before
    assert undo_crash(root) == []


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    root = system(
        tmp_path, **{"etc__kdump.conf": KDUMP_CONF, HOOK.replace("/", "__"): "#!/bin/sh\n"}
    )
    before = tree(root)
    with pytest.raises(SourceError, match=r"pre\.d/tracekit: not written by tracekit setup"):
        install_crash(root, plan_crash(root, command="/usr/bin/tracekit"))
    assert tree(root) == before
    assert undo_crash(root) == [f"left alone, for tracekit setup has not written it: {HOOK}"]
    assert tree(root) == before


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"proc__cmdline": "quiet"}, "boot with crashkernel=256M"),
        ({"etc__default__kdump-tools": "USE_KDUMP=1\n"}, 'level 31 .*MAKEDUMP_ARGS="-c -d 23"'),
        ({"etc__kdump.conf": "path /var/crash\n"}, "level 31 .*core_collector makedumpfile"),
    ],
)
def test_what_else_is_to_be_known(tmp_path: Path, files: dict[str, str], note: str) -> None:
    plan = plan_crash(system(tmp_path, **files), command="/usr/bin/tracekit")
    (found,) = plan.notes
    assert re.search(note, found)


def test_crashkernel_that_the_boot_loader_gets(tmp_path: Path) -> None:
    grub = {"etc__default__grub": 'GRUB_CMDLINE_LINUX="crashkernel=512M quiet"\n'}
    root = system(tmp_path, **{"proc__cmdline": "quiet", **grub})
    assert plan_crash(root, command="/usr/bin/tracekit").notes == ()


def test_words_that_no_unit_can_have(tmp_path: Path) -> None:
    root = system(tmp_path)
    for session, command in (("S", None), ("/a b", None), (None, "tracekit"), (None, "/a $(b)")):
        with pytest.raises(UsageError):
            plan_crash(root, session, command)
    with pytest.raises(SourceError, match="--root needs the root"):
        plan_crash(tmp_path / "absent")


# -- the command ------------------------------------------------------------------------------


def test_shown_applied_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fedora(tmp_path)
    before = tree(root)
    words = ["setup", "--crash", "--root", str(root), "--program", "/usr/bin/tracekit"]
    assert main(words) == 0
    out, _ = capsys.readouterr()
    assert "# crash kernels of: systemd, kdump" in out and f"# /{HOOK}\n" in out
    assert tree(root) == before
    assert main([*words, "--apply", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["applied"] and set(document["files"]) == {UNIT_FILE, HOOK, "etc/kdump.conf"}
    assert "in the installed system run: kdumpctl restart" in err
    assert (root / UNIT_FILE).exists()
    assert main([*words, "--undo"]) == 0
    assert "removed: " in capsys.readouterr().err
    assert tree(root) == before
    assert main([*words, "--undo"]) == 0
    assert "nothing of tracekit setup --crash is installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--crash", "--carrier", "kho"], ["--crash", "--no-start"], ["--no-dump"],
     ["--crash", "--kernel", "/boot/k"], ["--crash", "--apply", "--undo"]],
)  # fmt: skip
def test_what_does_not_go_together(tmp_path: Path, words: list[str]) -> None:
    assert main(["setup", "--root", str(system(tmp_path)), *words]) == 2


# -- what is installed ------------------------------------------------------------------------


def test_the_hook_says_what_it_lacks(tmp_path: Path) -> None:
    """Without a dead kernel's memory it fails, and so kdump goes on to its dump."""
    root = fedora(tmp_path)
    install_crash(root, plan_crash(root, command="/bin/true"))
    if Path("/proc/vmcore").exists():
        pytest.skip("NOT TESTED: this is a crash kernel")
    done = subprocess.run([root / HOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no /proc/vmcore" in done.stderr
    assert subprocess.run(["sh", "-n", root / HOOK], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="NOT TESTED: THE UNIT")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT
    plan = plan_crash(system(tmp_path), command=shutil.which("true"), instead=True)
    unit.write_text(plan.files[UNIT_FILE])
    env = {**os.environ, "LC_ALL": "C"}
    verify = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, env=env)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if "tracekit-" in line]
