"""``tracekit recover``: after the jump, fetch the preserved recording into the session."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.common import (
    detail,
    progress,
    say,
    say_diagnostics,
    show,
    show_json,
    sysroot_option,
)
from tracekit.cli.recover_dump import (
    dump_document,
    recover_crash,
    recover_dump,
    recover_tree,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.capture.recover.crash import Crashed
    from tracekit.capture.recover.recover import RecoverResult
    from tracekit.parameters import FileRegion, MemoryFile, RegionSpec
    from tracekit.session.canary import Canary
    from tracekit.sysroot import Sysroot

__all__ = ["command"]

_WAYS = {
    "kexec": "a kexec",
    "crash kernel": "a panic, which started this crash kernel",
    "boot loader": "through firmware: a reboot, a panic or a loss of power; the report tells which",
}


def _print_json(
    result: RecoverResult, canary: Canary | None, crashed: Crashed | None = None
) -> None:
    document: dict[str, Any] = {
        "session": str(result.session),
        "boot": result.boot,
        "release": result.release,
        "previous_known": result.previous_known,
        "started_by": asdict(result.started),
        "regions": [
            {
                "name": region.name,
                "boot": region.boot,
                "address": region.address,
                "size": region.size,
                "sha256": region.sha256,
                "kept": region.kept,
                "owner_evidence": region.owner_evidence,
                "carrier": region.carrier,
                "origin": region.origin or None,
            }
            for region in result.regions
        ],
        "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
        "canary": asdict(canary.findings) if canary and canary.findings else None,
    }
    if crashed is not None:
        document["diagnostics"] += [diagnostic.as_dict() for diagnostic in crashed.why]
        document["dead_kernel"] = dump_document(crashed.dump) if crashed.dump else None
    show_json(document)


def _show_pending(root: Sysroot, session: str | None) -> None:
    """Print the session that a recover would write to; raises where there is none."""
    from tracekit.capture.recover.crash import in_crash_kernel

    if in_crash_kernel(root):
        _show_crash(root, session)
    else:
        _show_waiting(root, session)


def _show_crash(root: Sysroot, session: str | None) -> None:
    from tracekit.capture.cmdline.session_param import crash_session, session_with
    from tracekit.capture.recover.crash import dead_boot_id
    from tracekit.errors import TracekitError

    target = crash_session(root, dead_boot_id(root), session)
    if session_with(root, target):
        raise TracekitError(f"the kernel that crashed has been recovered into {target}")
    show(target)


def _show_waiting(root: Sysroot, session: str | None) -> None:
    from tracekit.capture.cmdline.session_param import (
        named_session,
        session_from_cmdline,
        waiting_session,
    )
    from tracekit.errors import TracekitError

    if named_session(root.text("proc/cmdline")) is not None:
        show(session or session_from_cmdline(root))
    elif (waiting := waiting_session(root, session)) is not None:
        show(str(waiting))
    else:
        raise TracekitError("no session waits to be recovered")


def _saved(result: RecoverResult) -> str:
    if result.boot is not None:
        return f"boot {result.boot}, kernel {result.release}, in {result.session}"
    return (
        f"the regions alone, in {result.session}: they are from files, and this kernel need not "
        "be the one that came after (if it is: --same-machine)"
    )


def _recover(
    root: Sysroot,
    session: str | None,
    wanted: Sequence[RegionSpec | FileRegion],
    whole: MemoryFile | None,
    in_unit: bool,
) -> tuple[RecoverResult, Canary | None, Crashed | None]:
    """Recover what came to this kernel; systemd hears of it where nothing has."""
    from tracekit.capture.recover.crash import in_crash_kernel
    from tracekit.capture.recover.recover import recover
    from tracekit.capture.save.systemd import notify_ready
    from tracekit.errors import NothingToRecover

    try:
        if not wanted and whole is None and in_crash_kernel(root):
            crashed = recover_crash(root, session)
            return crashed.result, None, crashed
        target = _target(root, session)
        canary = _look_after_canary(root, target)
        return recover(root, target, wanted, progress, whole), canary, None
    except NothingToRecover as error:
        if in_unit:  # it has done what it could
            notify_ready(f"nothing to recover: {str(error).splitlines()[0][:200]}")
        raise


def _tell(result: RecoverResult) -> None:
    """What has been recovered, in words."""
    say_diagnostics(result.diagnostics)
    for region in result.regions:
        state = "kept from an earlier run" if region.kept else "copied"
        say(f"{region.name}: {region.size} bytes, {state}; boot {region.boot}'s")
        detail(f"  {region.owner_evidence}")
    started = result.started
    if started.kind != "unknown":
        say(f"the way here: {_WAYS[started.kind]} ({started.evidence})")
    say(f"saved: {_saved(result)}\nnext: tracekit report {result.session}")


def _wait_userspace(result: RecoverResult, timeout: float) -> None:
    from tracekit.capture.save import systemd

    boot = result.boot or 0
    systemd.notify_ready(f"recovered boot {boot - 1} into {result.session}")
    if not systemd.running():
        say("warning: systemd does not run here, so its milestones are not saved")
        return
    if not systemd.save_userspace(result.session, boot, timeout):
        say(f"warning: systemd was still starting units after {timeout:g} s; saved what it had")


def _target(root: Sysroot, session: str | None) -> str:
    """Where the session is, fetched from memory first if it crossed there."""
    from tracekit.capture.cmdline.session_param import (
        find_session,
        luo_directory,
        luo_from_cmdline,
        luo_name,
    )
    from tracekit.capture.recover.luo_session import receive
    from tracekit.errors import TracekitError
    from tracekit.remarks import Remarks

    asked = luo_name(session)
    name = asked or (luo_from_cmdline(root) if root.live else None)
    if name is None:
        return find_session(root, session)
    chosen = session if asked is None else None
    target = Path(chosen) if chosen else luo_directory(root, name)
    remarks = Remarks()
    try:
        if receive(root, name, target, remarks):
            say(f"fetched the session luo:{name} into {target}")
    except TracekitError as error:
        if chosen is None:
            raise
        say(f"warning: {error}; recovering into {chosen} without it")
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


def _run(
    sysroot: str,
    regions: tuple[str, ...],
    memory: str | None,
    same_machine: bool,
    wait_userspace: bool,
    timeout: float,
    pending: bool,
    as_json: bool,
    session: str | None,
) -> None:
    """The command, where no dump is named."""
    from tracekit.capture.recover.elsewhere import is_elsewhere, recover_files
    from tracekit.errors import UsageError
    from tracekit.parameters import RegionSpec, parse_memory, parse_region
    from tracekit.sysroot import Sysroot

    wanted = [parse_region(text) for text in regions]
    whole = parse_memory(memory) if memory is not None else None
    root = Sysroot(sysroot)
    elsewhere = root.live and is_elsewhere(wanted, whole, same_machine=same_machine)
    if elsewhere and (wait_userspace or session is None):
        raise UsageError(
            "regions out of files are saved alone, without this kernel's side: "
            + ("name the session's directory" if session is None else "no --wait-userspace then")
            + ", or say that the files are this machine's memory: --same-machine"
        )
    if same_machine and whole is None and all(isinstance(w, RegionSpec) for w in wanted):
        raise UsageError("--same-machine is about --memory and --region NAME@file:PATH")
    if wait_userspace and not root.live:
        raise UsageError("--wait-userspace is for the running machine, not for a saved tree")
    if session is None and not root.live:
        raise UsageError("with --sysroot name the session's directory too")
    if pending:
        root.need_root("recover --pending")
        _show_pending(root, session)
        return
    if not wanted and whole is None and recover_tree(root, session, as_json):
        return
    canary = crashed = None
    if elsewhere:
        result = recover_files(str(session), wanted, progress, whole)
    else:
        files = ", or copy the device into a file and name that" if whole or wanted else ""
        root.need_root("recover", f", or give --sysroot a saved tree{files}")
        result, canary, crashed = _recover(root, session, wanted, whole, wait_userspace)
    _tell(result)
    if wait_userspace:
        _wait_userspace(result, timeout)
    if as_json:
        _print_json(result, canary, crashed)


@click.command()
@sysroot_option
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME@PLACE",
    help="Fetch this physical range (tkA@0x7d600000:4M) instead of what was carried here, or this "
    "part of a file or device (tkA@file:/dev/pmem0:0:4M; offset and size may be left out).",
)
@click.option(
    "--memory",
    metavar="FILE[@ADDRESS]",
    help="Read physical memory from this file: an ELF core, a dump by makedumpfile or QEMU, or "
    "plain memory that begins at ADDRESS.",
)
@click.option(
    "--same-machine",
    is_flag=True,
    help="The files are this machine's own memory: save this kernel's side, too.",
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
@click.option(
    "--pending",
    is_flag=True,
    help="Only print the session that waits to be recovered; exit code 1 where there is none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.argument("session", required=False, type=click.Path(readable=False))
def command(
    sysroot: str,
    regions: tuple[str, ...],
    memory: str | None,
    same_machine: bool,
    dump: str | None,
    tree: str | None,
    wait_userspace: bool,
    timeout: float,
    pending: bool,
    as_json: bool,
    session: str | None,
) -> None:
    """After the jump: fetch the preserved recording into SESSION.

    The raw memory is copied first, byte for byte; then what the new kernel has to say: its own
    trace, KHO data, symbols, log and clocks. Killed at any point, run it again. Without SESSION it
    is the one that 'tracekit handover' named on this kernel's command line (tracekit.session=);
    after a reboot or a panic the newest below /var/lib/tracekit that was recorded into memory which
    this kernel has been left. In a crash kernel all trace buffers of the dead one are fetched out
    of /proc/vmcore, into its session or a new one below /var/lib/tracekit. A session that crossed
    in memory (luo:NAME) is fetched into a new directory first: SESSION, or one below
    /var/lib/tracekit.

    \b
      tracekit recover                                           on the machine, as root
      tracekit recover SESSION                                   into another session
      tracekit recover --sysroot new SESSION                     from a saved tree
      tracekit recover --region tkA@0x7d600000:4M SESSION        a range KHO does not name
      tracekit recover --region tk@file:/dev/pmem0:0:8M SESSION  persistent memory
      tracekit recover --memory vmcore SESSION                   a dump, on any machine
      tracekit recover --dump /proc/vmcore SESSION               all buffers, nothing prepared

    Regions out of plain files are saved alone, and that takes no root: this kernel need not be the
    one that came after. A path may have colons; a number behind the last one is an offset unless a
    file of that name exists.
    """
    if dump is not None or tree is not None:
        others = any((regions, memory, same_machine, wait_userspace, pending, sysroot != "/"))
        recover_dump(dump, tree, session, alone=not others, as_json=as_json)
        return
    _run(sysroot, regions, memory, same_machine, wait_userspace, timeout, pending, as_json, session)
