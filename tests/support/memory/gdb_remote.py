"""A guest's physical memory, written through QEMU's gdb server while the guest is between kernels.

The protocol is that of gdb's manual, appendix "Remote Serial Protocol"; ``Qqemu.PhyMemMode`` is
QEMU's own, which makes ``M`` take physical addresses.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

_RIP, _CS = 16 * 8, 16 * 8 + 8 + 4  # offsets in the registers of x86-64: 16 of 8 bytes, rip, eflags
_HALF = 1 << 47  # addresses of the kernel are above, of everything else below
_PAUSE = 0.01  # seconds the guest runs between two looks


class _Stub:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._rest = b""

    def close(self) -> None:
        self._socket.close()

    def send(self, text: str) -> None:
        data = text.encode()
        self._socket.sendall(b"$%s#%02x" % (data, sum(data) % 256))

    def interrupt(self) -> None:
        self._socket.sendall(b"\x03")

    def packet(self) -> str:
        """The next packet, acknowledged."""
        while b"#" not in self._rest or len(self._rest) < self._rest.index(b"#") + 3:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("QEMU has closed the connection")
            self._rest += data
        head, _, rest = self._rest.partition(b"#")
        self._rest = rest[2:]
        self._socket.sendall(b"+")
        return head.partition(b"$")[2].decode()

    def ask(self, text: str) -> str:
        """The answer; reports of a stop, which may come at any time, are no answers."""
        self.send(text)
        while (answer := self.packet())[:1] in ("T", "S"):
            pass
        return answer

    def stopped(self) -> None:
        """Wait until the guest has stopped."""
        while self.packet()[:1] not in ("T", "S"):
            pass


class Written(NamedTuple):
    """Where the boot CPU was when the memory was written, and what was there before."""

    rip: int
    ring: int
    before: bytes


def write_between_kernels(path: Path, address: int, data: bytes, patience: float = 60) -> Written:
    """Write physical memory once the boot CPU has left the old kernel and is not in the new one.

    It is then in ring 0, at an address of the lower half: ``relocate_kernel()`` and what unpacks
    the new kernel. Raises TimeoutError where it is not seen there.
    """
    stub = _Stub(path)
    try:
        stub.send("?")  # connecting has stopped the guest
        stub.stopped()
        end = time.monotonic() + patience
        while time.monotonic() < end:
            stub.ask("Hg1")
            registers = bytes.fromhex(stub.ask("g"))
            rip, cs = (
                struct.unpack_from(f, registers, o)[0] for f, o in (("<Q", _RIP), ("<I", _CS))
            )
            if rip < _HALF and cs & 3 == 0:
                assert stub.ask("Qqemu.PhyMemMode:1") == "OK"
                before = bytes.fromhex(stub.ask(f"m{address:x},{len(data):x}"))
                assert stub.ask(f"M{address:x},{len(data):x}:{data.hex()}") == "OK"
                return Written(rip, cs & 3, before)
            stub.send("c")
            time.sleep(_PAUSE)
            stub.interrupt()
            stub.stopped()
        raise TimeoutError("the guest was not seen between the kernels")
    finally:
        stub.send("D")  # the guest runs on
        stub.close()
