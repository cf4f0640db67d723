"""``tracekit recover``: after the jump, fetch the preserved recording into the session."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.common import detail, progress, say, say_diagnostics, sysroot_option

if TYPE_CHECKING:
    from tracekit.capture.recover.recover import RecoverResult
    from tracekit.carriers.canary import Canary
    from tracekit.sysroot import Sysroot

__all__ = ["command"]


def _print_json(result: RecoverResult, canary: Canary | None) -> None:
    document: dict[str, Any] = {
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
        "canary": asdict(canary.findings) if canary and canary.findings else None,
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


def _target(root: Sysroot, session: str | None) -> str:
    """Where the session is, fetched from memory first if it crossed there."""
    from tracekit.capture.cmdline.session_param import (
        luo_directory,
        luo_from_cmdline,
        luo_name,
        session_from_cmdline,
    )
    from tracekit.capture.recover.luo_session import receive
    from tracekit.remarks import Remarks

    asked = luo_name(session)
    name = asked or (luo_from_cmdline(root) if root.live else None)
    if name is None:
        return session or session_from_cmdline(root)
    target = Path(session) if session and asked is None else luo_directory(root, name)
    remarks = Remarks()
    if receive(root, name, target, remarks):
        say(f"fetched the session luo:{name} into {target}")
    say_diagnostics(remarks.diagnostics)
    return str(target)


def _look_after_canary(root: Sysroot, target: str) -> Canary | None:
    """Check the canary that the old kernel left, if it did, and say how it is."""
    from tracekit.capture.recover.canary import check_canary

    checked = check_canary(root, target)
    if checked is None:
        return None
    canary, findings = checked[1], checked[1].findings
    size = f"{canary.size >> 10} KiB"
    if findings is None or findings.problem:
        why = findings.problem if findings else ""
        say(f"warning: the canary of {size} could not be looked at: {why}")
    elif not findings.changed:
        say(f"canary: no stray write in {size}")
    else:
        say(f"warning: the canary changed: {findings.changed} bytes of {size}, in {findings.places}"
            " places: the report shows where")  # fmt: skip
    return canary


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
    wait_userspace: bool,
    timeout: float,
    as_json: bool,
    session: str | None,
) -> None:
    """After the jump: fetch the preserved recording into SESSION.

    The raw memory is copied first, byte for byte; then what the new kernel has to say: its own
    trace, KHO data, symbols, log and clocks. Killed at any point, run it again. Without SESSION it
    is the one that 'tracekit handover' named on this kernel's command line (tracekit.session=). A
    session that crossed in memory (luo:NAME) is fetched into a new directory first: SESSION, or one
    below /var/lib/tracekit. A canary is looked at.

    \b
      tracekit recover                                           on the machine, as root
      tracekit recover SESSION                                   into another session
      tracekit recover --sysroot new SESSION                     from a saved tree
      tracekit recover --region tkA@0x7d600000:4M SESSION        a range KHO does not name
    """
    from tracekit.capture.recover.recover import recover
    from tracekit.errors import UsageError
    from tracekit.parameters import parse_region
    from tracekit.sysroot import Sysroot

    wanted = [parse_region(text) for text in regions]
    root = Sysroot(sysroot)
    if wait_userspace and not root.live:
        raise UsageError("--wait-userspace is for the running machine, not for a saved tree")
    if session is None and not root.live:
        raise UsageError("with --sysroot name the session's directory too")
    root.need_root("recover")
    target = _target(root, session)
    canary = _look_after_canary(root, target)
    result = recover(root, target, wanted, progress)
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
        _print_json(result, canary)
