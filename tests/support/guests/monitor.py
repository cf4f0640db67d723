"""Orders for the QEMU of a guest that runs, by its machine protocol (QMP)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

__all__ = ["order"]


def order(path: Path, command: str) -> None:
    """Have QEMU do something; raises what the socket raises, or ``RuntimeError`` if it refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        answers = connection.makefile("rb")
        answers.readline()  # QEMU's greeting
        for one in ("qmp_capabilities", command):
            connection.sendall(json.dumps({"execute": one}).encode() + b"\n")
            while True:
                answer = json.loads(answers.readline())
                if "error" in answer:
                    raise RuntimeError(f"{one}: {answer['error']}")
                if "return" in answer:
                    break
