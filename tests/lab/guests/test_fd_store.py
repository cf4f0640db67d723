"""systemd's descriptor store (261 and later) carries a session through a kexec, in a memfd of LUO.

Not part of the other lab tests: Debian's stable release has an older systemd, so this one makes a
root image of the testing release (``make lab-all``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.guest import CMDLINE, NEW, OLD, guest_run, need_guests, record
from tracekit.lab import images
from tracekit.lab.machine import Plan
from tracekit.lab.store import lab_directory
from tracekit.timeline.filter import Filter

pytestmark = [pytest.mark.matrix, pytest.mark.xdist_group("lab")]

#: Puts the session into the store of the unit it runs in, and waits until systemd has it.
HOLD = """#!/usr/bin/python3 -P
import os, socket, sys
from pathlib import Path
sys.path.insert(0, "/opt/tracekit")
from tracekit.session.packed import frame, pack

archive, suffix = pack(Path("/var/lib/tracekit/session"))
fd = os.memfd_create("tracekit-session")
with open(fd, "wb", closefd=False) as file:
    file.write(frame(archive, suffix) + archive)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
socket.send_fds(notify, [b"FDSTORE=1\\nFDNAME=lab\\nFDPOLL=0"], [fd])
ours, theirs = os.pipe()
socket.send_fds(notify, [b"BARRIER=1"], [theirs])
os.close(theirs)
os.read(ours, 1)
"""
BOOT0 = f"""
systemctl --version | head -n 1
{record("--no-bpf")}
interrupt
echo 1 > $TK/tracing_on  # the recorder has left the instance as it was: empty
marks stored $TK/trace_marker
cat > /root/hold <<'END'
{HOLD}END
chmod +x /root/hold
cat > /etc/systemd/system/tracekit-luo.service <<END
[Service]
Type=oneshot
NotifyAccess=main
FileDescriptorStoreMax=4
FileDescriptorStorePreserve=yes
ExecStart=/root/hold
END
systemctl daemon-reload
systemctl start tracekit-luo
systemd-analyze fdstore tracekit-luo.service
rm -r $S /root/hold
kexec -s -l /boot/vmlinuz-{NEW} --initrd=/boot/initrd \
    --command-line="$(cat /proc/cmdline) tracekit.session=luo:lab"
echo JUMP
systemctl kexec
"""
BOOT1 = """
[ -z "$(ls /var/lib/tracekit)" ] || fail "a session is there before recover"
sed -i 's,^ExecStart=.*,ExecStart=/usr/local/bin/tracekit -v recover,' \
    /etc/systemd/system/tracekit-luo.service
systemctl daemon-reload
systemd-analyze fdstore tracekit-luo.service
systemctl start tracekit-luo || { journalctl -b --no-pager -u tracekit-luo; fail "no recovery"; }
journalctl -b --no-pager -o cat -u tracekit-luo
mv /var/lib/tracekit/lab-* $S
"""


def test_the_session_comes_out_of_the_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need_guests()
    monkeypatch.setattr(images, "_SUITE", "forky")
    images.root_image(lab_directory(), print)
    plan = Plan(OLD, (BOOT0, BOOT1), cmdline=f"{CMDLINE} liveupdate=on", systemd=True)
    result = guest_run(plan, tmp_path)
    lines = [line.text for line in result.console]
    assert any(line.startswith("fetched the session luo:lab into ") for line in lines)
    recording = tracekit.open(result.output / "session")
    assert [boot.release for boot in recording.report().boots] == [OLD, NEW]
    wanted = Filter(events=("ftrace:print",), boots=frozenset({0}))
    texts = recording.table(recording.select(wanted))["args"].to_pylist()
    assert sum("stored " in text for text in texts) == 23
