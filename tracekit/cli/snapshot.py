"""``tracekit snapshot``: before the jump, save what is needed to decode this boot later."""

from __future__ import annotations

import click

from tracekit.cli.common import progress, say, say_diagnostics, show_json, sysroot_option

__all__ = ["command"]


@click.command()
@sysroot_option
@click.option(
    "-o",
    "--output",
    "session",
    required=True,
    metavar="SESSION",
    type=click.Path(),
    help="The session directory: created, or added to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(sysroot: str, session: str, as_json: bool) -> None:
    """Before the jump: save what is needed to decode this boot later.

    Formats of every event, symbols, task names, clock samples, counters: what the new kernel
    cannot know. Take it as late as you can; a later one of the same boot replaces it.

    \b
      tracekit snapshot -o SESSION                   on the machine, as root
      tracekit snapshot --sysroot old -o SESSION     from a saved tree
    """
    from tracekit.capture.cmdline.session_param import luo_name
    from tracekit.capture.save.snapshot import snapshot
    from tracekit.sysroot import Sysroot

    if luo_name(session) is not None:
        raise click.UsageError(
            f"-o {session} is for 'tracekit handover', which jumps: a snapshot goes to a directory"
        )
    root = Sysroot(sysroot)
    root.need_root("snapshot")
    result = snapshot(root, session, progress)
    say_diagnostics(result.diagnostics)
    verb = "saved anew" if result.replaced else "saved"
    say(
        f"{verb}: boot {result.boot}, kernel {result.release}, {result.formats} event formats, "
        f"in {result.session}\nafter the kexec run: tracekit recover {result.session}"
    )
    if as_json:
        document = {
            "session": str(result.session),
            "boot": result.boot,
            "release": result.release,
            "formats": result.formats,
            "replaced": result.replaced,
            "diagnostics": [diagnostic.as_dict() for diagnostic in result.diagnostics],
        }
        show_json(document)
