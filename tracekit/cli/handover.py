"""``tracekit handover``: record, load the next kernel, take the last snapshot, jump."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tracekit.cli.common import progress, say, show, show_json
from tracekit.cli.record import record_options, stay, to_options

__all__ = ["command"]


@click.command()
@click.option(
    "--kernel", required=True, metavar="IMG", type=click.Path(path_type=Path),
    help="The next kernel's image.",
)  # fmt: skip
@click.option(
    "--initrd", metavar="IMG", type=click.Path(path_type=Path), help="Its initramfs.",
)  # fmt: skip
@click.option(
    "--append", metavar="TEXT",
    help="Its command line, besides what tracekit adds. Default: this kernel's.",
)  # fmt: skip
@click.option("--reuse-cmdline", is_flag=True, help="This kernel's command line (the default).")
@click.option(
    "--via", type=click.Choice(["kexec", "systemctl"]), default="kexec", show_default=True,
    help="kexec: jump at once; systemctl: stop user space in order first.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Jump even where the record cannot survive.")
@click.option(
    "--load-only", is_flag=True, help="Load the next kernel and leave the jump to others."
)
@click.option(
    "--canary", metavar="SIZE[@ADDRESS]",
    help="Fill so much preserved memory with a pattern; 'recover' looks whether anything, a device"
    " say, wrote into it.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print it as JSON on stdout.")
@record_options
def command(
    kernel: Path, initrd: Path | None, append: str | None, reuse_cmdline: bool, via: str,
    force: bool, load_only: bool, canary: str | None, dry_run: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Record this kernel's way out and jump to the next one.

    Arms the recorder (or uses 'tracekit record' where it runs), loads the next kernel, takes the
    last snapshot and jumps. The next kernel's command line is written for you: KHO on and the same
    reserved regions, or the same carve-out (memmap=); the region that this boot does not use for
    the new trace instance, its boot recorded from the first initcall on, and the session, so that
    there

    \b
      tracekit recover

    needs no argument. A jump that the record cannot survive is refused.

    \b
      tracekit handover --kernel /boot/vmlinuz-7.3 --initrd /boot/initrd-7.3 -o SESSION
      tracekit handover --kernel ... --dry-run          shows the command line
      tracekit handover --kernel ... --via systemctl    stops services first
      tracekit handover --kernel ... -o luo:NAME        no disk: the session crosses in memory
    """
    from tracekit.capture.record.cargo import NOTHING, Cargo, parse_wanted
    from tracekit.capture.record.handover import Next, handover, plan
    from tracekit.sysroot import Sysroot

    if reuse_cmdline and append is not None:
        raise click.UsageError("--append and --reuse-cmdline exclude each other")
    if as_json and not dry_run:
        raise click.UsageError("--json shows what --dry-run would do: give both")
    wanted = to_options(**options)
    cargo = Cargo(wanted.luo, None if canary is None else parse_wanted(canary))
    if cargo != NOTHING and (via != "kexec" or load_only):
        raise click.UsageError(
            "-o luo:NAME and --canary hold memory until the jump, so they need --via kexec, "
            "and no --load-only"
        )
    root = Sysroot()
    planned = plan(root, Next(kernel, initrd, append, force), wanted, cargo)
    for warning in planned.boot.warnings:
        say(f"warning: {warning}")
    if dry_run:
        document = {
            "kernel": str(kernel),
            "initrd": str(initrd) if initrd else None,
            "cmdline": planned.boot.cmdline,
            "instance": planned.boot.instance,
            "region": planned.boot.region,
            "session": f"luo:{cargo.session}" if cargo.session else str(planned.options.session),
            "canary": canary,
            "recorder": planned.recorder,
            "via": via,
        }
        lines = (f"{key:9} {value}" for key, value in document.items() if value is not None)
        if as_json:
            show_json(document)
        else:
            show("\n".join(lines))
        return
    recorder = handover(root, planned, via, load_only=load_only, progress=progress, say=say)
    if load_only:
        say(f"loaded {kernel}; its command line: {planned.boot.cmdline}")
    elif recorder is not None:
        stay(recorder, leaving=True)
