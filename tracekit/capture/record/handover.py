"""``tracekit handover``: record, load the next kernel, take the last snapshot, jump."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tracekit.capture.cmdline.compose import NextBoot, next_cmdline
from tracekit.capture.cmdline.session_param import LUO
from tracekit.capture.record.armed import ask_for_release, recording
from tracekit.capture.record.cargo import NOTHING, Cargo, Loaded, check_cargo
from tracekit.capture.record.chosen import chosen_instance, survival
from tracekit.capture.record.kexec import jump, load
from tracekit.capture.record.recorder import Options, Recorder, recording_clock
from tracekit.carriers.memory_use import read_memory
from tracekit.errors import UsageError
from tracekit.frozen import dataclass
from tracekit.parameters import split_parameters
from tracekit.remarks import Progress, no_progress
from tracekit.sysroot import Sysroot

__all__ = ["Next", "Plan", "handover", "plan"]


@dataclass(frozen=True, slots=True)
class Next:
    """The next kernel: its image, its initramfs, and what its command line is made from.

    ``append`` replaces this kernel's command line (None: it is used again). ``force`` jumps even
    where the record cannot survive.
    """

    kernel: Path
    initrd: Path | None = None
    append: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done. ``recorder`` is the pid of a recorder that runs already, or None."""

    next: Next
    boot: NextBoot
    options: Options
    recorder: int | None
    cargo: Cargo = NOTHING


def plan(root: Sysroot, next_kernel: Next, options: Options, cargo: Cargo = NOTHING) -> Plan:
    """Work out the next command line, who records, and what crosses.

    Raises :class:`~tracekit.errors.TracekitError` for what would fail later on.
    """
    root.need_root("handover", instead="")
    for path in (next_kernel.kernel, next_kernel.initrd):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: no such file: name the next kernel and its initramfs")
    cargo = check_cargo(root, cargo)
    running = recording()
    if running is not None and cargo.session is not None:
        options = replace(options, session=Path(running.session))
    if running is not None:
        if options.session.resolve() != Path(running.session):
            raise UsageError(
                f"pid {running.pid} is recording into {running.session}: hand over with "
                f"-o {running.session}, or stop it first"
            )
        options = replace(options, instance=running.instance)
    instance = chosen_instance(root, options.instance, options.carrier)
    warnings = _survives(root, instance.name, options.carrier, next_kernel.force)
    boot = next_cmdline(
        root.text("proc/cmdline").strip(),
        str(options.session.resolve()) if cargo.session is None else f"{LUO}{cargo.session}",
        base=_base(root, next_kernel, cargo),
        instance=instance.name,
        carrier=options.carrier,
        clock=instance.clock if running else options.clock or recording_clock(root, instance),
        memory=read_memory(root),
    )
    boot = replace(boot, warnings=(*warnings, *boot.warnings))
    options = replace(options, instance=instance.name)
    return Plan(next_kernel, boot, options, running.pid if running else None, cargo)


def _base(root: Sysroot, next_kernel: Next, cargo: Cargo) -> str | None:
    """What the next command line is made from: with live update on, where something needs it."""
    canary = cargo.canary
    needed = cargo.session is not None or (canary is not None and canary.address is None)
    base = root.text("proc/cmdline").strip() if next_kernel.append is None else next_kernel.append
    if not needed or "liveupdate" in dict(split_parameters(base)):
        return next_kernel.append
    return f"liveupdate=on {base}"


def _survives(root: Sysroot, name: str, carrier: str | None, force: bool) -> tuple[str, ...]:
    """Warnings on what becomes of the record in the jump.

    Raises :class:`~tracekit.errors.UsageError` where it cannot survive, unless that is forced.
    """
    try:
        verdict = survival(root, name, carrier)
    except UsageError as error:
        if not force:
            raise
        return (f"forced: {error}",)
    if verdict is not None and verdict.state == "unknown":
        return (f"whether the record survives is not known: {verdict.why}",)
    return ()


def handover(
    root: Sysroot,
    plan: Plan,
    via: str,
    *,
    load_only: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda message: None,
) -> Recorder | None:
    """Carry out ``plan``.

    With ``via`` ``kexec`` it does not return. With ``systemctl`` it returns when systemd has begun
    to stop user space: a recorder that it returns has to be kept running until the end. With
    ``load_only`` the next kernel is loaded and nothing else happens.
    """
    kernel = plan.next
    with ExitStack() as stack:
        recorder = None
        cargo = stack.enter_context(Loaded(root, plan.cargo))
        if plan.recorder is None and not load_only:
            say("arming the recorder")
            recorder = Recorder(root, plan.options, progress)
            stack.callback(recorder.stop)
        say(f"loading {kernel.kernel}")
        load(kernel.kernel, kernel.initrd, plan.boot.cmdline)
        if load_only:
            return None
        if recorder is not None:
            recorder.tick(0)
            recorder.mark("handover")
            recorder.release(standby=via == "systemctl")
        elif plan.recorder is not None:
            with progress("the recorder takes its last snapshot", None):
                ask_for_release(plan.recorder)
        for line in cargo.describe():
            say(line)
        cargo.stow(plan.options.session)
        say(f"jumping (via {via})")
        jump(via)
        stack.pop_all()
        return recorder
