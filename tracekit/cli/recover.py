"""``tracekit recover``: after the jump, fetch the preserved recording into the session."""

from __future__ import annotations

import json

import click

from tracekit.cli.common import detail, progress, say, say_diagnostics, sysroot_option

__all__ = ["command"]


@click.command()
@sysroot_option
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME@PA:SIZE",
    help="Fetch this physical range (tkA@0x7d600000:4M) instead of what KHO carried.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.argument("session", type=click.Path(readable=False))
def command(sysroot: str, regions: tuple[str, ...], as_json: bool, session: str) -> None:
    """After the jump: fetch the preserved recording into SESSION.

    The raw memory is copied first, byte for byte; then what the new kernel has to say: its own
    trace, KHO data, symbols, log and clocks. Killed at any point, run it again.

    \b
      tracekit recover SESSION                                   on the machine, as root
      tracekit recover --sysroot new SESSION                     from a saved tree
      tracekit recover --region tkA@0x7d600000:4M SESSION        a range KHO does not name
    """
    from tracekit.capture.cmdline import parse_region
    from tracekit.capture.recover import recover
    from tracekit.sysroot import Sysroot

    wanted = [parse_region(text) for text in regions]
    root = Sysroot(sysroot)
    root.need_root("recover")
    result = recover(root, session, wanted, progress)
    say_diagnostics(result.diagnostics)
    for region in result.regions:
        state = "kept from an earlier run" if region.kept else "copied"
        say(f"{region.name}: {region.size} bytes, {state}; boot {region.boot}'s")
        detail(f"  {region.owner_evidence}")
    say(
        f"saved: boot {result.boot}, kernel {result.release}, in {result.session}\n"
        f"next: tracekit report {result.session}"
    )
    if as_json:
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
