"""A session that came in memory: fetched once, completed after a kill, never over another one.

LUO itself runs in the lab; here systemd passes the memfd, or an earlier run has kept the archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sessions.small import KERNEL
from tracekit.capture.recover.luo_session import receive, received
from tracekit.errors import NothingToRecover, UsageError
from tracekit.remarks import Remarks
from tracekit.session import Session, SessionWriter
from tracekit.session.packed import frame, pack
from tracekit.sysroot import Sysroot

BOOT_ID = "f0a3de25-0000-4000-8000-000000000000"


@pytest.fixture
def root(tmp_path: Path) -> Sysroot:
    random = tmp_path / "root/proc/sys/kernel/random"
    random.mkdir(parents=True)
    (random / "boot_id").write_text(f"{BOOT_ID}\n")
    return Sysroot(tmp_path / "root")


@pytest.fixture
def archive(tmp_path: Path) -> tuple[bytes, str]:
    """A packed session of one boot."""
    with SessionWriter.open(tmp_path / "old") as writer:
        writer.write("boots/0/kernel.json", KERNEL)
        writer.add_boot(0)
        writer.finish("snapshot")
    return pack(tmp_path / "old")


def test_a_killed_run_is_completed(
    root: Sysroot, archive: tuple[bytes, str], tmp_path: Path
) -> None:
    """What came is beside the target; then it is there, and nothing is fetched any more."""
    target, data = tmp_path / "var/lab", archive[0]
    target.parent.mkdir()
    kept = target.parent / f".lab-{BOOT_ID[:8]}.tar{archive[1]}"
    kept.write_bytes(data)
    assert receive(root, "lab", target, Remarks())
    assert Session.open(target).boots == [0] and not kept.exists()
    assert received(target, BOOT_ID) and not received(target, "another boot")
    assert not receive(root, "lab", target, Remarks())


def test_nothing_came(root: Sysroot, tmp_path: Path) -> None:
    with pytest.raises(NothingToRecover, match=r"luo:lab, which the command line names"):
        receive(root, "lab", tmp_path / "lab", Remarks())
    assert not (tmp_path / "lab").exists()


def test_another_session_stays(root: Sysroot, tmp_path: Path) -> None:
    target = tmp_path / "lab"
    target.mkdir()
    (target / "manifest.json").write_bytes(b"of another")
    with pytest.raises(UsageError, match="is there already"):
        receive(root, "lab", target, Remarks())
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is there already"):
        receive(root, "lab", link, Remarks())


PASSED = """
import os, sys
from pathlib import Path
from tracekit.capture.recover.luo_session import receive
from tracekit.remarks import Remarks
from tracekit.sysroot import Sysroot
fd = os.memfd_create("tracekit-session")
os.write(fd, Path(sys.argv[1]).read_bytes())
os.dup2(fd, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="lab")
receive(Sysroot(sys.argv[2]), "lab", Path(sys.argv[3]), Remarks())
"""


def test_systemd_passes_it(root: Sysroot, archive: tuple[bytes, str], tmp_path: Path) -> None:
    """A unit whose store systemd has preserved is given the memfd when it starts."""
    block, target = tmp_path / "block", tmp_path / "lab"
    block.write_bytes(frame(*archive) + archive[0] + bytes(100))
    words = [sys.executable, "-c", PASSED, block, root.path, target]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Session.open(target).boots == [0] and received(target, BOOT_ID)
