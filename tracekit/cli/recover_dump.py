"""``tracekit recover --dump`` and ``--tree``: trace buffers out of a dead kernel's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit.cli.common import progress, say, say_diagnostics, show_json
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.capture.recover.crash import Crashed
    from tracekit.capture.recover.dump import DumpResult
    from tracekit.capture.recover.seed import SeedResult
    from tracekit.sysroot import Sysroot

__all__ = ["dump_document", "recover_crash", "recover_dump", "recover_tree"]


def dump_document(result: DumpResult) -> dict[str, Any]:
    """The ``--json`` form of a dead kernel."""
    return {
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


def _seed_document(result: SeedResult) -> dict[str, Any]:
    return {
        "session": str(result.session),
        "boot": result.boot,
        "version": result.version,
        "events": result.events,
        "unknown": result.unknown,
        "pages": {name or "global": pages for name, pages in result.pages.items()},
        "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
    }


def recover_dump(
    path: str | None, tree: str | None, session: str | None, *, alone: bool, as_json: bool
) -> None:
    """The kernel in a dump; with ``tree`` only the buffers that this device tree names.

    ``alone``: no option was given that names other memory.
    """
    if path is None or session is None or not alone:
        raise UsageError(
            "--dump FILE is all that is read, beside --tree FDT: name the session's directory, and "
            "none of --region, --memory, --same-machine, --sysroot and --wait-userspace"
        )
    if tree is not None:
        from tracekit.capture.recover.seed import recover_seed_files

        _say_seed(recover_seed_files(tree, path, session), as_json)
        return
    from tracekit.capture.recover.dump import recover_dump

    result = recover_dump(path, session, progress)
    _say_dump(result)
    say(f"next: tracekit report {result.session}")
    if as_json:
        show_json(dump_document(result))


def _say_dump(result: DumpResult) -> None:
    say_diagnostics(result.diagnostics)
    for array in result.arrays:
        state = "recorded to the end" if array.recording else "stopped"
        say(f"{array.name or 'global buffer'}: {array.events} events, clock {array.clock}, {state}")
    for running in result.running:
        task = f"{running.task.comm}-{running.task.pid}" if running.task else "unknown"
        panicked = ", panicked" if running.cpu == result.panic_cpu else ""
        say(f"cpu {running.cpu}: running {task}{panicked}")
    say(f"saved: boot {result.boot}, kernel {result.release}, in {result.session}")


def recover_crash(root: Sysroot, session: str | None) -> Crashed:
    """In a crash kernel: the dead one, and what is recovered anyway."""
    from tracekit.capture.cmdline.session_param import crash_session
    from tracekit.capture.recover.crash import recover_crashed

    found = recover_crashed(root, lambda dead: crash_session(root, dead, session), progress)
    if found.dump is not None:
        _say_dump(found.dump)
    say_diagnostics(found.why)
    return found


def _say_seed(result: SeedResult, as_json: bool) -> None:
    say_diagnostics(result.diagnostics)
    for name, pages in result.pages.items():
        say(f"{name or 'global buffer'}: {pages} pages")
    say(
        f"saved: boot {result.boot}, from a tree of KHO's patches {result.version}, "
        f"in {result.session}\nnext: tracekit report {result.session}"
    )
    if as_json:
        show_json(_seed_document(result))


def recover_tree(root: Sysroot, session: str | None, as_json: bool) -> bool:
    """The buffers that a tree of KHO's first patches names; False where a root has none."""
    from tracekit.capture.cmdline.session_param import find_session
    from tracekit.capture.recover.seed import recover_seed, seed_tree

    rel = seed_tree(root)
    if rel is None:
        return False
    where = find_session(root, session)
    _say_seed(recover_seed(root, rel, where, progress), as_json)
    return True
