"""The guest leaves by kexec in the middle of recover, and recovers again: nothing is lost."""

from __future__ import annotations

import json

import pytest

import tracekit
from tests.support.guest import NEW, OLD, guest_run, handover
from tracekit.lab.machine import Plan, Result

pytestmark = pytest.mark.lab

#: The region's digest, read from physical memory without tracekit.
DIGEST = """
python3 - <<'EOF'
import hashlib, re, struct
memblock = open('/sys/kernel/debug/kho/in/sub_fdts/memblock', 'rb').read()
at = memblock.index(b'tkA')
numbers = [struct.unpack_from('<Q', memblock, i)[0] for i in range(at, at + 80, 4)]
start = next(n for n in numbers if 0x100000 < n < 1 << 40 and n % 0x200000 == 0)
core = open('/proc/kcore', 'rb', 0)
header = core.read(64)
offset, size, count = *struct.unpack_from('<Q', header, 32), *struct.unpack_from('<HH', header, 54)
core.seek(offset)
for entry in struct.iter_unpack('<IIQQQQQQ', core.read(size * count)):
    kind, _, where, _, physical, _, length, _ = entry
    if kind == 1 and physical <= start < physical + length and physical < 1 << 60:
        core.seek(where + start - physical)
        data = b''
        while len(data) < 4 << 20:
            data += core.read((4 << 20) - len(data))
        print('DIGEST:', hashlib.sha256(data).hexdigest())
        break
EOF
"""
BOOT0 = handover(OLD, "--no-bpf")
BOOT1 = f"""
{DIGEST}
kexec -s -l /boot/vmlinuz-{NEW} --initrd=/boot/initrd --append="$(cat /proc/cmdline)"
tracekit recover &
for i in $(seq 600); do
    [ -d $S/incoming ] || [ -d $S/boots/0/regions ] && break
    sleep 0.05
done
echo "KILLED: $(ls $S $S/boots $S/boots/*/regions 2>/dev/null | tr '\\n' ' ')"
kill -0 $! || fail "recover was over already"
kexec -e
"""
BOOT2 = """
tracekit recover
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return guest_run(Plan(OLD, (BOOT0, BOOT1, BOOT2)), tmp_path_factory.mktemp("killed"))


def test_the_old_record_is_whole(result: Result) -> None:
    session = result.output / "session"
    digest = next(t.text.split()[1] for t in result.console if t.text.startswith("DIGEST:"))
    saved = json.loads((session / "boots/0/regions/tkA.json").read_text())
    assert saved["sha256"] == digest
    recording = tracekit.open(session)
    report = recording.report()
    assert report.boots[0].release == OLD and report.boots[0].lost == 0
    last = recording.table((recording.rows.boot == 0).nonzero()[0][-1:])
    assert last["event"].to_pylist() == ["tracekit:machine_kexec"]
    # On a fast machine the killed one had copied its own kernel's region, too. That kernel is
    # missing in the session, so the copy is nobody's: it is kept aside, and remarked on.
    assert json.loads((session / "manifest.json").read_text())["state"] == "recovered"
    assert not (session / "incoming").exists()


def test_the_boot_that_left_nothing_is_missed(result: Result) -> None:
    report = tracekit.open(result.output / "session").report()
    assert [boot.release for boot in report.boots] == [OLD, NEW]
    (missing,) = [d for d in report.diagnostics if d.code == "kernel-missing"]
    assert "KHO counts 2 kexecs to this kernel and 0 to boot 0: 1 in between" in missing.message
    assert not report.complete
