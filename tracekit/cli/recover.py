"""``tracekit recover``: after the jump, fetch the preserved recording into the session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tracekit.cli.common import detail, progress, say, say_diagnostics, sysroot_option

if TYPE_CHECKING:
    from tracekit.capture.recover.dump import DumpResult
    from tracekit.capture.recover.recover import RecoverResult
    from tracekit.capture.recover.seed import SeedResult

__all__ = ["command"]


def _print_json(result: RecoverResult) -> None:
    document = {
        "session": str(result.session),
        "boot": result.boot,
        "release": result.release,
        "previous_known": result.previous_known,
        "regions": [
            {
                "name": region.name,
                "boot": region.boot,
                "address": region.address,
                "size": region.size,
                "sha256": region.sha256,
                "kept": region.kept,
                "owner_evidence": region.owner_evidence,
            }
            for region in result.regions
        ],
        "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
    }
    click.echo(json.dumps(document, indent=2))


def _print_dump_json(result: DumpResult) -> None:
    document = {
        "session": str(result.session),
        "boot": result.boot,
        "release": result.release,
        "formats": result.formats,
        "panic_cpu": result.panic_cpu,
        "running": [
            {"cpu": r.cpu, "pid": r.task and r.task.pid, "comm": r.task and r.task.comm}
            for r in result.running
        ],
        "arrays": [
            {
                "name": array.name or "global",
                "clock": array.clock,
                "events": array.events,
                "pages": array.pages,
                "recording": array.recording,
            }
            for array in result.arrays
        ],
        "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
    }
    click.echo(json.dumps(document, indent=2))


def _recover_dump(path: str, session: str, as_json: bool) -> None:
    from tracekit.capture.recover.dump import recover_dump

    result = recover_dump(path, session, progress)
    say_diagnostics(result.diagnostics)
    for array in result.arrays:
        state = "recorded to the end" if array.recording else "stopped"
        say(f"{array.name or 'global buffer'}: {array.events} events, clock {array.clock}, {state}")
    for running in result.running:
        task = f"{running.task.comm}-{running.task.pid}" if running.task else "unknown"
        panicked = ", panicked" if running.cpu == result.panic_cpu else ""
        say(f"cpu {running.cpu}: running {task}{panicked}")
    say(
        f"saved: boot {result.boot}, kernel {result.release}, in {result.session}\n"
        f"next: tracekit report {result.session}"
    )
    if as_json:
        _print_dump_json(result)


def _say_seed(result: SeedResult, as_json: bool) -> None:
    say_diagnostics(result.diagnostics)
    for name, pages in result.pages.items():
        say(f"{name or 'global buffer'}: {pages} pages")
    say(
        f"saved: boot {result.boot}, from a tree of KHO's patches {result.version}, "
        f"in {result.session}\nnext: tracekit report {result.session}"
    )
    if as_json:
        document = {
            "session": str(result.session),
            "boot": result.boot,
            "version": result.version,
            "events": result.events,
            "unknown": result.unknown,
            "pages": {name or "global": pages for name, pages in result.pages.items()},
            "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
        }
        click.echo(json.dumps(document, indent=2))


def _wait_userspace(result: RecoverResult, timeout: float) -> None:
    from tracekit.capture.save import systemd

    systemd.notify_ready(f"recovered boot {result.boot - 1} into {result.session}")
    if not systemd.running():
        say("warning: systemd does not run here, so its milestones are not saved")
        return
    if not systemd.save_userspace(result.session, result.boot, timeout):
        say(f"warning: systemd was still starting units after {timeout:g} s; saved what it had")


@click.command()
@sysroot_option
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME@PA:SIZE",
    help="Fetch this physical range (tkA@0x7d600000:4M) instead of what KHO carried.",
)
@click.option(
    "--dump",
    metavar="FILE",
    help="Fetch all trace buffers out of a dead kernel's memory: /proc/vmcore, or a dump of it.",
)
@click.option(
    "--tree",
    metavar="FDT",
    help="With --dump: only the buffers that this device tree of KHO's first patches names.",
)
@click.option(
    "--wait-userspace",
    is_flag=True,
    help="Then wait until systemd has finished booting, and save its milestones.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Of --wait-userspace.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.argument("session", required=False, type=click.Path(readable=False))
def command(
    sysroot: str,
    regions: tuple[str, ...],
    dump: str | None,
    tree: str | None,
    wait_userspace: bool,
    timeout: float,
    as_json: bool,
    session: str | None,
) -> None:
    """After the jump: fetch the preserved recording into SESSION.

    The raw memory is copied first, byte for byte; then what the new kernel has to say: its own
    trace, KHO data, symbols, log and clocks. Killed at any point, run it again. Without SESSION it
    is the one that 'tracekit handover' named on this kernel's command line (tracekit.session=).

    \b
      tracekit recover                                           on the machine, as root
      tracekit recover SESSION                                   into another session
      tracekit recover --sysroot new SESSION                     from a saved tree
      tracekit recover --region tkA@0x7d600000:4M SESSION        a range KHO does not name
      tracekit recover --dump /proc/vmcore SESSION               after a panic, nothing prepared
    """
    from tracekit.capture.cmdline.session_param import session_from_cmdline
    from tracekit.capture.recover.recover import recover
    from tracekit.capture.recover.seed import recover_seed, recover_seed_files, seed_tree
    from tracekit.errors import UsageError
    from tracekit.parameters import parse_region
    from tracekit.sysroot import Sysroot

    if dump is not None:
        if regions or wait_userspace or sysroot != "/":
            raise UsageError(
                "--dump is all that is read: leave out --region, --sysroot, --wait-userspace"
            )
        if session is None:
            raise UsageError("with --dump name the session's directory too")
        if tree is not None:
            _say_seed(recover_seed_files(tree, dump, session), as_json)
        else:
            _recover_dump(dump, session, as_json)
        return
    if tree is not None:
        raise UsageError("--tree says which memory of a dump to read: name it with --dump FILE")
    wanted = [parse_region(text) for text in regions]
    root = Sysroot(sysroot)
    if wait_userspace and not root.live:
        raise UsageError("--wait-userspace is for the running machine, not for a saved tree")
    if session is None and not root.live:
        raise UsageError("with --sysroot name the session's directory too")
    root.need_root("recover")
    if not wanted and (rel := seed_tree(root)) is not None:
        where = session or session_from_cmdline(root)
        _say_seed(recover_seed(root, rel, where, progress), as_json)
        return
    result = recover(root, session or session_from_cmdline(root), wanted, progress)
    say_diagnostics(result.diagnostics)
    for region in result.regions:
        state = "kept from an earlier run" if region.kept else "copied"
        say(f"{region.name}: {region.size} bytes, {state}; boot {region.boot}'s")
        detail(f"  {region.owner_evidence}")
    say(
        f"saved: boot {result.boot}, kernel {result.release}, in {result.session}\n"
        f"next: tracekit report {result.session}"
    )
    if wait_userspace:
        _wait_userspace(result, timeout)
    if as_json:
        _print_json(result)
