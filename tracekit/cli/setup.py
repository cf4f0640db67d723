"""``tracekit setup``: the kernel's command line and the systemd units."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.common import say, show, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.capture.cmdline.bootloader import Loader
    from tracekit.capture.cmdline.setup import Options, Plan

__all__ = ["command"]


_PERCENT = (
    "with % and not $, which this boot loader may not let through; the kernel's physical address "
    "is no longer random then"
)


def _show(plan: Plan) -> None:
    loader = plan.loader
    show(f"# carrier: {plan.carrier}: {plan.why}")
    show(f"# kernel command line: add\n{plan.parameters}\n\n# boot loader: {loader.name}")
    if "%" in plan.parameters:
        show(f"# {_PERCENT}")
    if loader.update:
        when = "run" if loader.path is None else "write the file below, then run"
        show(f"# {when}: {shlex.join(loader.update)}")
    show(f"# {loader.note}")
    for path, content in plan.files.items():
        show(f"\n# /{path}\n{content}", nl=False)


def _make_effective(options: Options, plan: Plan, no_start: bool) -> None:
    """On the live machine: the boot loader takes the command line, systemd the units."""
    from tracekit.capture.cmdline import setup
    from tracekit.capture.save import systemd
    from tracekit.errors import TracekitError
    from tracekit.parameters import parse_cmdline

    update = plan.loader.update
    by_hand = f"boot loader: {plan.loader.name}: {plan.loader.note}:\n  {plan.parameters}"
    if options.root != Path("/"):
        say(f"in the installed system run: {shlex.join(update)}" if update else by_hand)
        return
    commands: list[tuple[str, ...]] = [update] if update else []
    booted = systemd.running()
    if booted:
        commands.append(("systemctl", "daemon-reload"))
    command = parse_cmdline(Path("/proc/cmdline").read_text("utf-8", "replace"))
    ready = any(i.region is not None or i.address is not None for i in command.instances)
    if booted and ready and not no_start:
        commands.append(("systemctl", "start", "tracekit-record.service", "tracekit-load.service"))
    failures = setup.start(commands)
    if broken := setup.check_arrived(options, plan.loader, plan.parameters).broken:
        failures += setup.take_back(options, plan)
        raise TracekitError(
            f"{plan.loader.name} lost the $ of the carve-out: its entries had {', '.join(broken)}, "
            "with which no kernel comes up. It has been taken out again"
            + (f", but not wholly: {'; '.join(failures)}" if failures else "")
            + f". Look into {plan.loader.shown} before you reboot; by hand, "
            "memmap=SIZE%ADDRESS-1+2 needs no $"
        )
    failures += _arrived(options, plan.loader, plan.parameters)
    if not ready:
        if not update:
            say(by_hand)
        say("this boot has no trace instance on a reserved region yet: reboot, then it records")
    if failures:
        raise TracekitError("; ".join(failures))


def _arrived(options: Options, loader: Loader, wanted: str) -> list[str]:
    """Read back what the boot loader boots with; what is wrong is returned, the rest is said."""
    from tracekit.capture.cmdline import setup

    back = setup.check_arrived(options, loader, wanted)
    if loader.shown is None and not loader.update:
        return []
    if back.good is not False or not loader.update:
        say(f"read back: {back.found}")
        return []
    return [f"read back: {back.found}: do it by hand: {loader.note}"]


def _undo(options: Options) -> None:
    from tracekit.capture.cmdline import setup
    from tracekit.errors import TracekitError

    done, loader = setup.undo(options)
    say("\n".join(done) or "nothing of tracekit setup is installed")
    if not loader.undo or (loader.path is not None and not done):
        return
    if options.root != Path("/"):
        say(f"in the installed system run: {shlex.join(loader.undo)}")
        return
    failures = setup.start([loader.undo])
    if failures := failures + _arrived(options, loader, ""):
        raise TracekitError("; ".join(failures))


def _document(plan: Plan) -> dict[str, object]:
    """The ``--json`` form."""
    return {
        "carrier": plan.carrier,
        "why": plan.why,
        "parameters": plan.parameters,
        "boot_loader": plan.loader.name,
        "update": list(plan.loader.update),
        "note": plan.loader.note,
        "kernel": plan.kernel,
        "initrd": plan.initrd,
        "files": plan.files,
    }


def _crash(
    root: Path, session: str | None, program: str | None, action: str, *, no_dump: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """``--crash``: show, ``apply`` or ``undo``."""
    from tracekit.capture.cmdline import crash

    plan = crash.plan_crash(root, session, program, instead=no_dump)
    if action:
        done = crash.undo_crash(root) if action == "undo" else crash.install_crash(root, plan)
        say("\n".join(done) or "nothing of tracekit setup --crash is installed")
        _take_effect(root, plan.update if done else ())
    if action != "undo":
        say("\n".join(f"note: {note}" for note in plan.notes) or "a panic leaves a session behind")
    if as_json:
        show_json({**asdict(plan), "applied": action == "apply"})
    elif not action:
        show(f"# crash kernels of: {', '.join(plan.tools)}")
        for words in plan.update:
            show(f"# then run: {shlex.join(words)}")
        for path, content in plan.files.items():
            show(f"\n# /{path}\n{content}", nl=False)


def _take_effect(root: Path, commands: Sequence[Sequence[str]]) -> None:
    """Run what makes new files known to the live machine, or say what is to be run."""
    from tracekit.capture.cmdline import setup
    from tracekit.capture.save import systemd
    from tracekit.errors import TracekitError

    if root != Path("/"):
        for words in commands:
            say(f"in the installed system run: {shlex.join(words)}")
        return
    booted = systemd.running()
    if failures := setup.start([w for w in commands if w[0] != "systemctl" or booted]):
        raise TracekitError("; ".join(failures))


@click.command()
@click.option("--apply", "install", is_flag=True, help="Install it. Without: only show it.")
@click.option("--undo", is_flag=True, help="Remove what --apply has installed.")
@click.option(
    "--carrier",
    type=click.Choice(["kho", "carveout"]),
    help="The way the memory survives. Default: what 'tracekit doctor' marks with *.",
)
@click.option(
    "--size",
    metavar="SIZE",
    help="Of each of the two regions. Default: 4M with KHO, 8M in a carve-out.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Of the carve-out. Default: the one there is, else chosen by /proc/iomem.",
)
@click.option(
    "--session", metavar="DIR", help="Record into DIR. Default: one a chain in /var/lib/tracekit."
)
@click.option(
    "--kernel", metavar="IMG", help="What systemctl kexec will boot. Default: the running release."
)
@click.option(
    "--initrd", metavar="I", help="Its initramfs ('' for none). Default: found beside it."
)
@click.option(
    "--metrics", metavar="FILE",
    help="Where metrics of each recovery go. Default: what node_exporter reads, if it is there, "
    "else /var/lib/tracekit-metrics/tracekit.prom.",
)  # fmt: skip
@click.option(
    "--after-recover", metavar="DIR/|COMMAND",
    help="Hand finished sessions on: a folder (/srv/sessions/) they are copied to, or a command.",
)  # fmt: skip
@click.option("--program", metavar="COMMAND", help="How the units call tracekit.")
@click.option(
    "--root",
    default="/",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Install below DIR, as for an image.",
)
@click.option(
    "--crash",
    is_flag=True,
    help="What makes a crash kernel save all trace buffers of the one that panicked.",
)
@click.option("--no-dump", is_flag=True, help="With --crash: a session instead of a dump.")
@click.option("--no-start", is_flag=True, help="Do not start recording right away.")
@click.option("--json", "as_json", is_flag=True, help="Print what was planned as JSON on stdout.")
def command(
    install: bool,
    undo: bool,
    carrier: str | None,
    size: str | None,
    address: str | None,
    session: str | None,
    kernel: str | None,
    initrd: str | None,
    program: str | None,
    metrics: str | None,
    after_recover: str | None,
    root: Path,
    crash: bool,
    no_dump: bool,
    no_start: bool,
    as_json: bool,
) -> None:
    """Show, or install, what records every kexec from boot on.

    The kernel's command line sets two regions aside, which KHO carries from kernel to kernel, or
    which lie in a carve-out that every kernel leaves alone (memmap=: x86, no KHO needed, survives a
    warm reboot and a panic too), and gives one of them to a trace instance. Systemd units record
    from boot to the jump, load the next kernel with the right command line, and recover after it:
    then a plain 'systemctl kexec' leaves a session behind.

    --crash is for panics, with or without all that: in the crash kernel of Debian's kdump-tools, of
    Fedora's kdump, or one that boots the system, the dead kernel's trace buffers are saved first.

    \b
      tracekit setup                  shows all of it
      tracekit setup --apply          installs it; reboot once
      tracekit setup --undo           removes it
      tracekit setup --crash --apply  installs what a crash kernel runs
    """
    from tracekit.capture.cmdline import setup
    from tracekit.errors import UsageError
    from tracekit.parameters import memparse

    if install and undo:
        raise UsageError("--apply or --undo, not both")
    if no_dump and not crash:
        raise UsageError("--no-dump is about --crash")
    if crash:
        others = carrier, size, address, kernel, initrd, after_recover
        if no_start or any(o is not None for o in others):
            raise UsageError("--crash goes with --session, --program, --root and --no-dump alone")
        action = "apply" if install else "undo" if undo else ""
        _crash(root, session, program, action, no_dump=no_dump, as_json=as_json)
        return
    place = memparse(address) if address is not None else None
    if address is not None and (place is None or place[1]):
        raise UsageError(f"--address {address!r}: write a number, as in 0x70000000")
    options = setup.Options(
        root, size, session, kernel, initrd, program, carrier, place[0] if place else None, metrics,
        after_recover,
    )  # fmt: skip
    if undo:
        _undo(options)
        return
    plan = setup.make_plan(options)
    if install:
        say("\n".join(setup.apply(options, plan)))
        _make_effective(options, plan, no_start)
    if as_json:
        show_json(_document(plan))
    elif not install:
        _show(plan)
