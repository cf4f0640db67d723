"""Finds and runs the host's tools that the lab is made with; names those that are missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tracekit.errors import LabError

__all__ = ["ENVIRONMENT", "Say", "kill", "need", "run", "tail"]

Say = Callable[[str], None]

# tool -> the Debian package that has it
_PACKAGES = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "bc": "bc",
    "bison": "bison",
    "busybox": "busybox-static",
    "chroot": "coreutils",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "flex": "flex",
    "gcc": "gcc",
    "grub-mkconfig": "grub-common",
    "grub-mkimage": "grub-common",
    "ld": "binutils",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "pahole": "dwarves",
    "newuidmap": "uidmap",
    "perl": "perl",
    "python3": "python3",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sqfstar": "squashfs-tools",
    "tar": "tar",
    "unshare": "util-linux",
    "xz": "xz-utils",
    "zstd": "zstd",
}
_HEADERS = {"gelf.h": "libelf-dev"}
_KEPT = 30  # lines of a tool or of the guest that an error shows
# Tools such as mke2fs lie where only root's PATH leads.
_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)
#: What the tools run with: messages in English, PATH with sbin.
ENVIRONMENT = {**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8"}


def _has_header(header: str) -> bool:
    places = [Path("/usr/include"), *Path("/usr/include").glob("*-linux-gnu")]
    return any((place / header).exists() for place in places)


def need(what: str, tools: Iterable[str], headers: Iterable[str] = ()) -> dict[str, str]:
    """Tool -> its path. Raises :class:`~tracekit.errors.LabError` naming all that are missing."""
    paths = {tool: shutil.which(tool, path=_PATH) for tool in tools}
    missing = [tool for tool, path in paths.items() if path is None]
    packages = {_PACKAGES[tool] for tool in missing}
    for header in headers:
        if not _has_header(header):
            missing.append(header)
            packages.add(_HEADERS[header])
    if missing:
        raise LabError(
            f"{what} needs {', '.join(missing)}, not found on this machine\n"
            f"next: sudo apt-get install {' '.join(sorted(packages))}"
        )
    return {tool: path for tool, path in paths.items() if path is not None}


def tail(lines: Iterable[str]) -> str:
    """The last of ``lines``, indented, to end an error with."""
    kept = [line for line in deque(lines, _KEPT * 2) if line.strip()][-_KEPT:]
    return "\n".join(f"  {line}" for line in kept) or "  (nothing)"


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    line: Say | None = None,
    source: Path = Path(os.devnull),
) -> list[str]:
    """Run a tool to its end and return the lines it printed; ``line`` sees each as it comes.

    It reads ``source``.

    Raises :class:`~tracekit.errors.LabError`, which ends with the tool's last lines.
    """
    output: list[str] = []
    with source.open("rb") as stdin, subprocess.Popen(
        argv, cwd=cwd, env=ENVIRONMENT, stdin=stdin, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            for text in process.stdout:
                output.append(text.rstrip())
                if line is not None:
                    line(output[-1])
        except BaseException:
            kill(process)
            raise
    if process.returncode:
        name = Path(argv[0]).name
        raise LabError(
            f"{name} failed with status {process.returncode}:"
            f" {' '.join(map(str, argv))[:300]}\nits last lines:\n{tail(output)}"
        )
    return output


def kill(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process that leads a session of its own, and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
