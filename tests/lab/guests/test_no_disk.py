"""No disk: the session crosses in a memfd of LUO, and a stray write into the canary is found."""

from __future__ import annotations

import re
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import CMDLINE, NEW, OLD, guest_run
from tests.support.memory.gdb_remote import Written, write_between_kernels
from tracekit.lab.console import Line
from tracekit.lab.machine import Plan, Result
from tracekit.recording import Recording
from tracekit.session.canary import chunks, read_document

pytestmark = pytest.mark.lab

STRAY = b"a device wrote this"
OFFSET = 0x508  # of the stray write, in the canary's first page: the next may be elsewhere
DISKLESS = """
mount -t tmpfs -o size=200M,mode=700 tmpfs /var/lib/tracekit
mount -o remount,ro /lab || fail "the disk cannot be made read-only"
touch /lab/state/x /x 2>/dev/null && fail "the disk can be written"
grep -E '^/dev/vd' /proc/mounts
"""
BOOT0 = f"""
dmesg -n 1  # a message of the kernel's own would break the line with the address
{DISKLESS}
tracekit -v handover --kernel /boot/vmlinuz-{NEW} --initrd /boot/initrd -o luo:lab --canary 8M
"""
BOOT1 = f"""
cat /proc/cmdline
{DISKLESS}
[ -z "$(ls /var/lib/tracekit)" ] || fail "a session is there before recover"
tracekit -v recover
[ "$(stat -f -c %T /var/lib/tracekit/lab-*)" = tmpfs ] || fail "not on a tmpfs"
tracekit recover
mv /var/lib/tracekit/lab-* /var/lib/tracekit/session
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, int, Written]:
    """(the run, the address that was written, where the guest was then)."""
    address = 0
    writing: Future[Written] | None = None
    with (
        tempfile.TemporaryDirectory(prefix="gdb") as place,
        ThreadPoolExecutor(1) as thread,
    ):
        gdb = Path(place) / "gdb"

        def watch(line: Line) -> None:
            nonlocal address, writing
            if match := re.search(r"canary: .* first page at (0x[0-9a-f]+)", line.text):
                address = int(match[1], 16) + OFFSET
            if line.text.startswith("jumping") and writing is None:
                assert address, "no line told where the canary is"
                writing = thread.submit(write_between_kernels, gdb, address, STRAY)

        plan = Plan(OLD, (BOOT0, BOOT1), cmdline=f"{CMDLINE} liveupdate=on", gdb=gdb)
        result = guest_run(plan, tmp_path_factory.mktemp("luo"), watch)
        assert writing is not None
        return result, address, writing.result(10)


@pytest.fixture(scope="module")
def recording(ran: tuple[Result, int, Written]) -> Recording:
    return tracekit.open(ran[0].output / "session")


def test_the_session_came_through_memory(ran: tuple[Result, int, Written]) -> None:
    """In both kernels every disk was read-only, and the second one's session is on a tmpfs."""
    result = ran[0]
    assert result.statuses == (None, 0)
    lines = [line.text for line in result.console]
    mounts = [line for line in lines if line.startswith("/dev/vd")]
    assert mounts and all(" ro," in line for line in mounts)
    assert any(
        "liveupdate=on kho=on" in line and "tracekit.session=luo:lab" in line for line in lines
    )
    fetched = [line for line in lines if line.startswith("fetched the session luo:lab into ")]
    assert len(fetched) == 1  # the second recover finds it there


def test_everything_is_decoded(recording: Recording) -> None:
    report = recording.report()
    assert [boot.release for boot in report.boots] == [OLD, NEW]
    assert report.boots[0].events > 1000 and report.boots[0].undecodable == 0
    last = [e for e in report.last_events if e.cpu == 0][-1]
    assert (last.event, last.ts_ns) == ("kexec:machine_kexec", 0)
    assert report.handovers[0].gap_ns


def test_the_stray_write_is_found(ran: tuple[Result, int, Written], recording: Recording) -> None:
    """It came from outside, while the boot CPU was between the kernels."""
    _, address, written = ran
    assert written.ring == 0 and written.rip < 1 << 47
    left = read_document(recording.session.read("boots/0/canary.json"), "canary.json")
    pattern = b"".join(chunk for _, chunk in chunks(bytes.fromhex(left.seed), left.size))
    assert left.address_of(0) == address - OFFSET
    assert written.before == pattern[OFFSET : OFFSET + len(STRAY)]
    (canary,) = recording.report().canaries
    assert (canary.state, canary.places, canary.boot) == ("changed", 1, 0)
    assert canary.size == 8 << 20 and canary.gap_ns == recording.report().handovers[0].gap_ns
    (change,) = canary.changes
    first = bytes.fromhex(change.found)
    # A byte at either end may be what was there before.
    assert change.address is not None and first in STRAY and len(first) >= len(STRAY) - 2
    assert address <= change.address and change.address + change.size <= address + len(STRAY)
    assert canary.bus_masters == ()
    assert any("the canary changed:" in line.text for line in ran[0].console)
