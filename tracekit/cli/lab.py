"""``tracekit lab``: real handovers in QEMU, without risking a machine."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.common import detail, say, talk_options, working
from tracekit.errors import LabError, UsageError

if TYPE_CHECKING:
    from tracekit.carriers.carrier import Way
    from tracekit.lab.console import Line
    from tracekit.lab.kernels import Kernel
    from tracekit.lab.machine import Plan
    from tracekit.lab.ways import CarrierName

__all__ = ["command"]

_STATE = "/var/lib/tracekit"  # in the guest: what survives the kexec and is brought out
_SIZES = {"kho": "4M", "carveout": "8M"}
_DOWN = {"kexec": "handover", "reboot": "reboot from", "panic": "panic from"}


@click.group("lab")
def command() -> None:
    """Real handovers in QEMU, without risking a machine.

    The guest is Debian with BCC on a kernel that has KHO, or on Debian's own (debian:trixie); it
    runs the tracekit that you run. KVM is used where it works; software emulation always does.
    Root is not needed.

    \b
      tracekit lab build                make the images, once; the kernel takes the longest
      tracekit lab run -o SESSION       record, kexec, recover; bring the session out
      tracekit report SESSION           where did the blackout go?
      tracekit lab shell                a prompt in the guest, to try things by hand

    \b
    TRACEKIT_LAB_DIR      where the lab is kept (else ~/.cache/tracekit/lab)
    TRACEKIT_LAB_KERNELS  a directory with ready kernels, called bzImage-VERSION-kho
    """


def _subcommand(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of the group, with ``-q`` and ``-v``."""

    def make(function: Callable[..., Any]) -> click.Command:
        made: click.Command = command.command(name)(function)
        made.params += talk_options()
        return made

    return make


@_subcommand("build")
@click.option(
    "--kernel",
    "series",
    multiple=True,
    metavar="X.Y|debian:SUITE",
    help="Build the newest kernel of this series, or fetch a suite's own; may be repeated."
    " [the newest series Debian has, when the lab has no kernel yet]",
)
@click.option("--jobs", type=click.IntRange(1), help="Compilers at a time. [one a CPU]")
def build(series: tuple[str, ...], jobs: int | None) -> None:
    """Make the lab from packages: Debian's root image and a kernel with KHO.

    \b
      tracekit lab build                               all that is missing
      tracekit lab build --kernel 7.2 --kernel 7.3     two kernels, to hand over between
      tracekit lab build --kernel debian:trixie        Debian's own, 100 MB to fetch
      tracekit lab build --kernel debian:trixie-backports
      TRACEKIT_LAB_KERNELS=DIR tracekit lab build      with ready kernels: one minute

    What is there stays as it is; a build that was interrupted goes on where it was.
    """
    from tracekit.lab import images, kernels
    from tracekit.lab.kernel_build import build_kernel, newest_series
    from tracekit.lab.stock_build import build_stock
    from tracekit.lab.store import lab_directory

    lab = lab_directory()
    with working("making the root image"):
        root = images.root_image(lab, say)
    versions = kernels.available(lab)
    wanted = list(series) or ([] if versions else [newest_series(lab, say)])
    for name in wanted:
        if name.startswith(kernels.STOCK):
            with working(f"fetching {name}"):
                build_stock(lab, name, say)
            continue
        if kernels.matching(name, versions):
            continue
        with working(f"building Linux {name}"):
            build_kernel(lab, name, say, detail, jobs)
    say(f"root image: {root}")
    own, stock = kernels.available(lab), kernels.stock_kernels(lab)
    for version, path in own.items():
        say(f"kernel {version}: {path}")
    for kernel in stock:
        say(f"kernel {kernels.STOCK}{kernel.suite}, {kernel.release}: {kernel.image}")
    which = "" if own else f" --kernel-old {kernels.STOCK}{stock[0].suite}"
    say(f"next: tracekit lab run{which} -o SESSION")


@_subcommand("run")
@click.option("--kernel-old", metavar="VERSION", help="The first kernel. [the lab's oldest]")
@click.option("--kernel-new", metavar="VERSION", help="The next kernel. [see below]")
@click.option(
    "--carrier",
    type=click.Choice(["kho", "carveout"]),
    help="What carries the record. [kho; carveout where a stock kernel takes part]",
)
@click.option(
    "--down",
    type=click.Choice(["kexec", "reboot", "panic"]),
    default="kexec",
    show_default=True,
    help="How the first kernel goes down: a kexec, a warm reboot, a panic into a crash kernel.",
)
@click.option("--cpus", type=click.IntRange(1, 8), default=2, show_default=True, help="CPUs.")
@click.option("--new-cpus", type=click.IntRange(1, 8), help="CPUs of the next kernel. [the same]")
@click.option("--clock", metavar="CLOCK", help="The trace clock, as of 'tracekit record'.")
@click.option(
    "--events",
    multiple=True,
    metavar="PRESET|GLOB",
    help="What to record, as of 'tracekit record'.",
)
@click.option("--no-bpf", is_flag=True, help="Record without the BCC probes.")
@click.option(
    "--region-size",
    metavar="SIZE",
    help="Size of each of the two preserved regions, or halves of a carve-out. [4M; 8M a half]",
)
@click.option(
    "--timeout",
    type=click.IntRange(10),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this long.",
)
@click.option(
    "-o",
    "--output",
    "session",
    required=True,
    metavar="SESSION",
    type=click.Path(path_type=Path),
    help="The session directory; must not exist.",
)
def run_handover(
    kernel_old: str | None,
    kernel_new: str | None,
    carrier: CarrierName | None,
    down: Way,
    cpus: int,
    new_cpus: int | None,
    clock: str | None,
    events: tuple[str, ...],
    no_bpf: bool,
    region_size: str | None,
    timeout: int,
    session: Path,
) -> None:
    """Record a real handover between two kernels and bring the SESSION out.

    The first kernel boots and runs 'tracekit handover'; the next one runs 'tracekit recover'. With
    --down reboot or panic the first one runs 'tracekit record' and goes down that way; a kernel
    that reboots is its own next one, after a panic the next one is the crash kernel.

    Kernels are called 7.2 or debian:trixie. Unless named, the next one is the lab's newest after a
    kexec of one of the lab's own, else the same again. Under software emulation a run takes a
    minute or two; -v shows the guest's console.

    \b
      tracekit lab run -o SESSION
      tracekit lab run --kernel-old 7.2 --kernel-new 7.3 --cpus 4 --new-cpus 2 -o SESSION
      tracekit lab run --events scheduling --no-bpf -o SESSION
      tracekit lab run --kernel-old debian:trixie --kernel-new debian:trixie-backports -o SESSION
      tracekit lab run --kernel-old debian:trixie --down panic -o SESSION
    """
    from tracekit.lab.ways import Journey, plan

    _check_new(session)
    old, new = _kernels(kernel_old, kernel_new, down)
    record = [
        *(("--clock", clock) if clock else ()),
        *(word for name in events for word in ("--events", name)),
        *(("--no-bpf",) if no_bpf else ()),
    ]
    carrier = carrier or ("carveout" if old.stock or new.stock else "kho")
    journey = Journey(
        old,
        new,
        carrier=carrier,
        down=down,
        cpus=cpus,
        new_cpus=new_cpus,
        half=_check_size(region_size or _SIZES[carrier]),
        record=tuple(record),
        timeout=timeout,
    )
    planned = plan(journey)
    say(f"{_DOWN[down]} {old.release} to {new.release}, in QEMU")
    _bring_out(planned, session)


def _kernels(old: str | None, new: str | None, down: Way) -> tuple[Kernel, Kernel]:
    """The kernels that were asked for.

    Unless named: the first is the oldest of the lab's own, the next one the newest of them after a
    kexec of such a kernel, else the same again.
    """
    from tracekit.lab import kernels
    from tracekit.lab.store import lab_directory

    lab = lab_directory()
    versions = [] if old and new else list(kernels.available(lab))
    first = kernels.find(old or (versions[0] if versions else ""), lab)
    if new is None and (first.stock or down != "kexec"):
        return first, first
    return first, kernels.find(new or (versions[-1] if versions else ""), lab)


def _check_new(session: Path) -> None:
    if session.exists():
        raise UsageError(f"{session} exists: name a directory that does not")
    if not session.absolute().parent.is_dir():
        raise UsageError(f"{session.absolute().parent}: no such directory: make it first")


def _check_size(text: str) -> int:
    from tracekit.parameters import memparse

    parsed = memparse(text)
    if parsed is None or parsed[1] or not 1 << 16 <= parsed[0] <= 1 << 28:
        raise UsageError(f"--region-size {text}: name a size from 64K to 256M, like 4M")
    return parsed[0]


def _bring_out(plan: Plan, session: Path) -> None:
    """Run the plan and bring the session out, or what there is of it when the run fails."""
    from tracekit.lab.machine import run

    parent = session.absolute().parent
    with tempfile.TemporaryDirectory(prefix=f".{session.name}-", dir=parent) as place:
        made = Path(place) / "state" / "session"
        try:
            run(plan, made.parent, _watch())
        except LabError:
            if made.is_dir():
                made.rename(session)
                say(f"{session}: the session as far as it came")
            raise
        if not made.is_dir():
            raise LabError(f"the guest's scripts ran, but left no session in {_STATE}/session")
        made.rename(session)
    say(f"{session}: the session\nnext: tracekit report {session}")


def _watch() -> Callable[[Line], None]:
    """Reports the guest's progress, with ``-v`` its whole console; seconds from this call on."""
    from tracekit.lab.console import mark

    begun = time.monotonic_ns()

    def watch(line: Line) -> None:
        seconds = f"{(line.ns - begun) / 1e9:6.1f} s"
        detail(f"{seconds}  {line.text}")
        match mark(line.text):
            case "begin", (boot,):
                say(f"{seconds}  boot {boot}: its script runs")
            case "end", (boot, status):
                say(f"{seconds}  boot {boot}: its script ended with status {status}")

    return watch


@_subcommand("shell")
@click.option("--kernel", metavar="VERSION", help="The kernel to boot. [the lab's oldest]")
@click.option("--cpus", type=click.IntRange(1, 8), default=2, show_default=True, help="CPUs.")
@click.option("--systemd", is_flag=True, help="Boot with systemd.")
@click.option(
    "--carrier",
    type=click.Choice(["kho", "carveout"]),
    help="What the command line is made for. [kho; carveout for a stock kernel]",
)
def shell(kernel: str | None, cpus: int, systemd: bool, carrier: CarrierName | None) -> None:
    """A prompt in the guest, with tracekit on the PATH.

    All the lab's kernels are there as /boot/vmlinuz-RELEASE, their initramfs is /boot/initrd.
    After a kexec there is a prompt again, and the disk is as you left it, with a carve-out after a
    reboot, too. Ctrl-D powers the guest off, Ctrl-A x ends QEMU at once, Ctrl-A h shows its other
    keys. What you do is gone afterwards.

    \b
      tracekit lab shell
      # tracekit doctor
      # tracekit handover --kernel /boot/vmlinuz-7.3.4 --initrd /boot/initrd
      # tracekit recover
    """
    from tracekit.lab import kernels
    from tracekit.lab.machine import Plan, interact
    from tracekit.lab.store import lab_directory
    from tracekit.lab.ways import Journey, first

    if not sys.stdin.isatty():
        raise UsageError("lab shell needs a terminal; for scripts there is: tracekit lab run")
    lab = lab_directory()
    versions = list(kernels.available(lab)) if kernel is None else []
    chosen = kernels.find(kernel or (versions[0] if versions else ""), lab)
    carrier = carrier or ("carveout" if chosen.stock else "kho")
    columns, rows = shutil.get_terminal_size()
    script = (
        f"export TERM={shlex.quote(os.environ.get('TERM', 'linux'))}\n"
        f"stty rows {rows} columns {columns} </dev/ttyS0\n"
        'echo "Linux $(uname -r). Ctrl-D powers off, Ctrl-A x ends QEMU. tracekit --help"\n'
        "setsid -cw bash -l </dev/ttyS0 >/dev/ttyS0 2>&1 || true\n"
    )
    say(f"booting {chosen.release} in QEMU; Ctrl-A x ends it")
    plan = Plan(
        chosen.name, (), first(Journey(chosen, chosen, carrier, cpus=cpus)), cpus=cpus,
        systemd=systemd, restarts=carrier == "carveout",
        others=tuple(other.name for other in kernels.stock_kernels(lab)),
    )  # fmt: skip
    interact(plan, script)
