"""``tracekit doctor``: is this machine ready to be recorded through a kexec?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracekit.cli.common import say, show, show_json, sysroot_option

if TYPE_CHECKING:
    from tracekit.capture.doctor.check import Check
    from tracekit.carriers.carrier import Verdict

__all__ = ["command"]

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "unknown": "cyan"}


def _print(checks: list[Check]) -> None:
    width = max(len(check.id) for check in checks)
    for check in checks:
        click.secho(f"{check.state:7}", fg=_COLOURS[check.state], nl=False)
        show(f"  {check.id:{width}}  {check.found}")
        if check.remedy:
            show(f"{'':{9 + width}}  do: {check.remedy}")


def _print_carriers(found: list[Verdict], taken: str | None) -> None:
    """Every carrier: its state, why, what it promises, and what to do for it."""
    show("\ncarriers:")
    width = max(len(verdict.carrier) for verdict in found)
    for verdict in found:
        mark = "*" if verdict.carrier == taken else " "
        promise = verdict.promise
        survives = ", ".join(promise.survives) or "nothing for sure"
        show(f"{mark} {verdict.state:8} {verdict.carrier:{width}}  {verdict.why}")
        indent = " " * (13 + width)
        show(f"{indent}survives: {survives}; CPU 0: {promise.cpu0}")
        show(f"{indent}needs: {promise.needs}")
        if verdict.remedy and verdict.state != "in use":
            show(f"{indent}do: {verdict.remedy}")


def _verdict_json(verdict: Verdict, taken: str | None) -> dict[str, object]:
    return {
        "name": verdict.carrier,
        "state": verdict.state,
        "taken": verdict.carrier == taken,
        "why": verdict.why,
        "survives": list(verdict.promise.survives),
        "cpu0": verdict.promise.cpu0,
        "needs": verdict.promise.needs,
        "do": verdict.remedy,
    }


def _verdict(checks: list[Check]) -> tuple[bool, str]:
    failed = [check.id for check in checks if check.state == "failed"]
    unknown = [check.id for check in checks if check.state == "unknown"]
    verdict = f"not ready: {', '.join(failed)}" if failed else "ready"
    if unknown and not failed:
        verdict = "ready as far as can be seen"
    return not failed, verdict + (f"; not seen: {', '.join(unknown)}" if unknown else "")


@click.command()
@sysroot_option
@click.option("--session", metavar="DIR", help="Where the session will be.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON on stdout.")
def command(sysroot: str, session: str | None, as_json: bool) -> None:
    """Is this machine ready to be recorded through a kexec?

    Looks at everything that recording, the jump and recovering need, and says what to do about
    what is missing; then which ways the machine has for memory to survive, what each promises, and
    which one is taken (*). Changes nothing. Exit code 0: ready; 1: something has failed. Not as
    root it says what it could not see.
    """
    from tracekit.capture.cmdline.session_param import default_session, luo_directory, luo_name
    from tracekit.capture.doctor.examine import carriers, examine
    from tracekit.errors import TracekitError
    from tracekit.sysroot import Sysroot

    root = Sysroot(sysroot)
    if (name := luo_name(session)) is not None:
        session = str(luo_directory(root, name))
    checks = examine(root, session or str(default_session(root)))
    found, taken = carriers(root)
    good, verdict = _verdict(checks)
    if as_json:
        document = {
            "ready": good,
            "checks": [check.as_dict() for check in checks],
            "carrier": taken,
            "carriers": [_verdict_json(verdict, taken) for verdict in found],
        }
        show_json(document)
    else:
        _print(checks)
        _print_carriers(found, taken)
    if not good:
        raise TracekitError(verdict)
    say(verdict)
