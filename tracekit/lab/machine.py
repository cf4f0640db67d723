"""One run of the lab: a guest boots, its scripts run boot after boot, its results come out."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tracekit.errors import LabError, UsageError
from tracekit.frozen import dataclass
from tracekit.lab import images, kernels
from tracekit.lab.console import Line, Lines, is_panic, last_lines, read_marks, trouble
from tracekit.lab.qemu import Direct, Disks, guarded, kvm_works, qemu_argv
from tracekit.lab.store import lab_directory, locked, scratch
from tracekit.lab.tools import ENVIRONMENT, kill, need
from tracekit.probes.cache import prune
from tracekit.session.names import check_relative

__all__ = [
    "BASE_CMDLINE",
    "CMDLINE",
    "Plan",
    "Result",
    "first_cmdline",
    "interact",
    "prepare",
    "run",
    "run_qemu",
    "unpack",
]

#: Console, no waiting after a panic; and where the host is busy neither a test of the timer that
#: ends in a panic nor a watchdog that takes the TSC for unstable: what every lab kernel gets.
BASE_CMDLINE = "console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=nowatchdog"


def first_cmdline(region_size: str = "4M") -> str:
    """The first kernel's command line: KHO, two regions, an instance in the first of them."""
    regions = " ".join(f"reserve_mem={region_size}:2M:{name}" for name in ("tkA", "tkB"))
    return f"{BASE_CMDLINE} kho=on {regions} trace_instance=tk^traceoff@tkA"


CMDLINE = first_cmdline()
_RESULTS = 2 << 30  # bytes of the disk the results come out on; a sparse file
_CACHE = "cache"  # in the lab's directory: the guests' /var/cache/tracekit
_PATIENCE = 90  # seconds a guest waits for a jump that its script asked for


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    ``scripts[n]`` runs in boot n: a shell script (``sh -eu``), or whatever its ``#!`` names; all
    but the last must leave for the next one. ``kernel`` is what :func:`kernels.find` takes
    (``7.2``, ``debian:trixie``); ``cmdline`` is its whole command line. All kernels of the lab's
    own, this one and the stock ones among ``others`` are in the guest as
    ``/boot/vmlinuz-RELEASE``, their initramfs as ``/boot/initrd``. ``memory`` in MiB, ``timeout``
    in seconds for the whole run.

    ``restarts``: a reset of the machine boots it again; else it ends the run. ``panics``: how
    often a script makes its kernel panic. ``disk``: a disk to boot from, through the firmware and
    a boot loader, instead of from ``kernel`` and ``cmdline``. ``gdb``:
    a socket on which QEMU is to serve gdb's remote protocol, ``qmp``: one for its own protocol.
    ``devices``: more of QEMU's devices, as its ``-device`` takes them, an IOMMU for instance; or
    what a disk is on, as its ``-blockdev`` does.
    """

    kernel: str
    scripts: tuple[str, ...]
    cmdline: str = CMDLINE
    cpus: int = 2
    memory: int = 2048
    systemd: bool = False
    timeout: float = 600
    others: tuple[str, ...] = ()
    restarts: bool = False
    panics: int = 0
    disk: Path | None = None
    gdb: Path | None = None
    qmp: Path | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a run.

    ``statuses``: per boot the exit status of its script, None where it jumped. ``output`` holds
    what the guest left in ``/var/lib/tracekit``.
    """

    console: tuple[Line, ...]
    statuses: tuple[int | None, ...]
    output: Path


def prepare(plan: Plan, place: Path, scripts: dict[str, str]) -> list[str]:
    """Make the disks of one run in ``place``; returns QEMU's arguments, but for the console.

    ``scripts`` is file name (``boot0``, or ``boot`` for every boot) -> text.
    """
    need("the lab", ["qemu-system-x86_64", "setpriv", "mke2fs", "busybox"])
    lab = lab_directory()
    there = _kernels(lab, plan)
    root = images.root_image_path(lab)
    if not root.exists():
        raise LabError(f"{lab}: the lab is not built yet\nnext: tracekit lab build")
    with _cache(lab) as cache:
        data = images.data_disk(
            place, there, scripts, cache, systemd=plan.systemd, patience=_PATIENCE
        )
    initrd, results = place / "initrd", place / "results.img"
    initrd.write_bytes(images.initramfs(there))
    results.touch(mode=0o600)
    os.truncate(results, _RESULTS)
    argv = qemu_argv(
        plan.disk or Direct(there[0].image, initrd, plan.cmdline),
        Disks(root, data, results),
        cpus=plan.cpus, memory=plan.memory, kvm=kvm_works(lab, there[0]), restarts=plan.restarts,
        devices=plan.devices,
    )  # fmt: skip
    served = ["-gdb", f"unix:{plan.gdb},server=on,wait=off"] if plan.gdb else []
    served += ["-qmp", f"unix:{plan.qmp},server=on,wait=off"] if plan.qmp else []
    return guarded([*argv, *served])


def _kernels(lab: Path, plan: Plan) -> list[kernels.Kernel]:
    """The kernels that are in the guest; the first is the one it boots."""
    wanted = [plan.kernel, *plan.others, *kernels.available(lab)]
    found = (kernels.find(name, lab) for name in wanted)
    return list({kernel.release: kernel for kernel in found}.values())


def run(plan: Plan, output: Path, watch: Callable[[Line], None] = lambda line: None) -> Result:
    """Run ``plan``; what the guest leaves in ``/var/lib/tracekit`` becomes ``output``, mode 0700.

    ``watch`` sees each console line as it comes. Raises :class:`~tracekit.errors.LabError`, ended
    by the console, when a script fails, the guest breaks down or the time is up; what a guest
    with a failed script packed is in ``output`` all the same.
    """
    if output.exists():
        raise UsageError(f"{output} exists: name a directory that does not")
    with scratch(lab_directory() / "runs") as place:
        names = {f"boot{number}": text for number, text in enumerate(plan.scripts)}
        argv = prepare(plan, place, names)
        lines = run_qemu([*argv, "-serial", "stdio"], plan.timeout, watch, plan.panics)
        progress = read_marks(lines)
        if progress.packed:
            unpack(place / "results.img", output, place / "cache")
            with _cache(lab_directory()) as cache:
                shutil.copytree(place / "cache", cache, dirs_exist_ok=True)
                prune(cache / "bpf")
    reason = trouble(lines, len(plan.scripts), plan.panics)
    if reason is not None:
        raise LabError(f"{reason}\n{last_lines(lines)}")
    return Result(tuple(lines), progress.statuses, output)


def interact(plan: Plan, script: str) -> None:
    """Boot a guest on this terminal; ``script`` runs in every boot. Returns when QEMU ends."""
    with scratch(lab_directory() / "runs") as place:
        argv = prepare(plan, place, {"boot": script})
        status = subprocess.run(
            [*argv, "-serial", "mon:stdio"], env=ENVIRONMENT, check=False
        ).returncode
    if status:
        raise LabError(f"QEMU ended with status {status}; what it said is above")


def run_qemu(
    argv: list[str], timeout: float, watch: Callable[[Line], None], panics: int = 0
) -> list[Line]:
    """The console of a QEMU that is run to its end, at most ``timeout`` seconds.

    A guest that panics more often than ``panics`` is ended: it might do so for ever. Raises
    :class:`~tracekit.errors.LabError`. Nothing is left running, whatever happens.
    """
    lines: list[Line] = []
    arrived: queue.Queue[Line | None] = queue.Queue()
    process = subprocess.Popen(
        argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, bufsize=0,
    )  # fmt: skip
    reader = threading.Thread(target=_read, args=(process, arrived), daemon=True)
    reader.start()
    end = time.monotonic() + timeout
    try:
        while (line := _next(arrived, end)) is not None:
            lines.append(line)
            watch(line)
            panics -= is_panic(line)
            if panics < 0:
                return lines
        status = process.wait()
    except queue.Empty:
        raise LabError(
            f"the guest was not done after {timeout:.0f} s\n{last_lines(lines)}"
        ) from None
    finally:
        kill(process)
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
    if status:
        raise LabError(f"QEMU ended with status {status}\n{last_lines(lines)}")
    return lines


def _next(arrived: queue.Queue[Line | None], end: float) -> Line | None:
    """The next line; raises queue.Empty at the time ``end``, however much the guest talks."""
    left = end - time.monotonic()
    if left <= 0:
        raise queue.Empty
    return arrived.get(timeout=left)


def _read(process: subprocess.Popen[bytes], arrived: queue.Queue[Line | None]) -> None:
    """The console thread: stamp lines the moment they arrive."""
    assert process.stdout is not None
    lines = Lines()
    while data := os.read(process.stdout.fileno(), 1 << 16):
        for line in lines.feed(data):
            arrived.put(line)
    for line in lines.end():
        arrived.put(line)
    arrived.put(None)


def unpack(archive: Path, output: Path, cache: Path) -> None:
    """Take a guest's tar archive apart: ``./`` becomes ``output``, ``cache/`` becomes ``cache``.

    Only regular files, below new directories of mode 0700. Raises
    :class:`~tracekit.errors.LabError` when it is none.
    """
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for directory in (part, cache):
        directory.mkdir(mode=0o700, parents=True)
    try:
        with tarfile.open(archive, "r:") as members:
            for member in members:
                source = members.extractfile(member) if member.isreg() else None
                if source is None:
                    continue
                if member.name.startswith("cache/"):
                    _take_out(source, cache, member.name.removeprefix("cache/"), member.mtime)
                else:
                    _take_out(source, part, member.name.removeprefix("./"), member.mtime)
    except tarfile.TarError as error:
        raise LabError(f"{archive}: what the guest packed cannot be read: {error}") from error
    part.rename(output)


@contextmanager
def _cache(lab: Path) -> Iterator[Path]:
    """The guests' ``/var/cache/tracekit``, while no other run changes it."""
    with locked(lab / f".{_CACHE}.lock"):
        yield lab / _CACHE


def _take_out(source: IO[bytes], directory: Path, name: str, mtime: float) -> None:
    path = directory.joinpath(*check_relative(name))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as target:
        path.chmod(0o600)
        shutil.copyfileobj(source, target)
    os.utime(path, (mtime, mtime))
