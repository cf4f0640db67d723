"""``tracekit record``: arm the instance and the probes until Ctrl-C or the jump."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.common import clean_console, progress, say, say_diagnostics, show_json, talk
from tracekit.errors import SourceError, TracekitError

if TYPE_CHECKING:
    from tracekit.capture.record.recorder import Options, Recorder, Status

__all__ = ["command", "record_options", "stay", "to_options"]


def record_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that records."""
    for option in reversed(
        (
            click.option(
                "-o", "--output", "--session", "session", metavar="SESSION", type=click.Path(),
                help="The session directory: created, or added to; with handover also luo:NAME, to"
                " cross in memory. Default: what the kernel before handed over, else one of this"
                " boot's below /var/lib/tracekit.",
            ),
            click.option(
                "--events", multiple=True, metavar="PRESET|GLOB", default=("handover",),
                show_default=True,
                help="What to record: handover, scheduling, everything, or globs of events"
                " (sched:*); may be given several times.",
            ),
            click.option(
                "--buffer", "instance", metavar="INSTANCE",
                help="The trace instance to record in. Default: the one on a reserved region.",
            ),
            click.option(
                "--carrier", type=click.Choice(["kho", "carveout"]),
                help="The way the memory survives. Default: that of the trace instance.",
            ),
            click.option(
                "--clock", metavar="CLOCK",
                help="The trace clock. Default: x86-tsc where there is one: it alone runs on"
                " through a kexec.",
            ),
            click.option(
                "--no-bpf", is_flag=True,
                help="Use kprobe events instead of BPF probes (no bus mastering, KHO or"
                " ring-buffer activity).",
            ),
            click.option(
                "--discard", is_flag=True,
                help="Wipe another kernel's record that is still in the buffer.",
            ),
        )
    ):  # fmt: skip
        function = option(function)
    return function


def to_options(
    session: str | None, events: tuple[str, ...], instance: str | None, carrier: str | None,
    clock: str | None, no_bpf: bool, discard: bool,
) -> Options:  # fmt: skip
    """The recorder's options from those of the command line."""
    from tracekit.capture.cmdline.session_param import (
        default_session,
        luo_directory,
        luo_from_cmdline,
        luo_name,
    )
    from tracekit.capture.record.recorder import Options
    from tracekit.sysroot import Sysroot

    root = Sysroot()
    luo = luo_name(session) if session else luo_from_cmdline(root)
    if luo is not None:
        path = luo_directory(root, luo)
    else:
        path = Path(session) if session else default_session(root)
    return Options(
        path, events, instance, clock, not no_bpf, discard, session is None, carrier, luo
    )


def _line(status: Status) -> str:
    stats = status.stats
    rate = stats.written / status.seconds if status.seconds else 0.0
    text = f"{status.seconds:.0f} s  {stats.written:,} events  {rate:,.0f}/s"
    text += f"  overwritten {stats.overrun:,}  dropped {stats.dropped:,}"
    if status.probes == "bpf":
        text += f"  probes {status.bpf_records:,}  lost {status.bpf_lost:,}"
    return text


@contextmanager
def _display() -> Iterator[Callable[[Status], None]]:
    """Shows the counts, on a terminal only."""
    if talk.quiet or not sys.stderr.isatty():
        yield lambda status: None
        return
    from rich.live import Live

    with Live(console=clean_console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda status: live.update(_line(status), refresh=True)


class Signals:
    """SIGUSR1: last snapshot, let go of the session. SIGTERM, SIGHUP and Ctrl-C: end.

    To be created before the recorder: a signal that comes while it arms takes effect once it is
    armed, except Ctrl-C, which gives up.
    """

    def __init__(self) -> None:
        self.ended: int | None = None
        self.last = False
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._last)

    def armed(self) -> None:
        """From now on Ctrl-C ends a recording."""
        signal.signal(signal.SIGINT, self._end)

    def _end(self, number: int, _: object) -> None:
        self.ended = number

    def _last(self, *_: object) -> None:
        self.last = True


def _watch(recorder: Recorder, signals: Signals) -> Status:
    """Record until a signal ends it; returns the last status."""
    status = recorder.tick(0)
    with _display() as show:
        while signals.ended is None:
            if signals.last:
                recorder.release(standby=True)
            status = recorder.tick()
            show(status)
    return status


def stay(recorder: Recorder, signals: Signals | None = None, *, leaving: bool = False) -> Status:
    """Record until a signal or the jump; ``leaving``: a kexec is under way already.

    Returns the last status. On a way down that the record survives the instance is left armed,
    else it is restored.
    """
    from tracekit.capture.record.going_down import survives_way_down

    signals = signals or Signals()
    signals.armed()
    try:
        status = _watch(recorder, signals)
    except (TracekitError, OSError) as error:
        raise SourceError(
            f"{error}; the session is as it was saved last, and the trace instance is still "
            "armed: kexec, or end it with 'tracekit record --cleanup'"
        ) from error
    if leaving or survives_way_down(recorder.root, recorder.instance.name):
        recorder.leave_armed()
    else:
        recorder.stop()
    return status


@click.command()
@record_options
@click.option(
    "--cleanup", is_flag=True,
    help="Put back what a killed recorder left armed, once its record is safe in its session.",
)  # fmt: skip
@click.option(
    "--last-snapshot", is_flag=True,
    help="Have the recorder that runs take its last snapshot and let go of the session.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was recorded as JSON on stdout.")
def command(cleanup: bool, last_snapshot: bool, as_json: bool, **options: Any) -> None:
    """Record until Ctrl-C or the kexec.

    Arms the trace instance that lies in preserved memory and the probes on the kexec path, and
    keeps the session up to date, so that a kexec may come at any time: 'tracekit recover' fetches
    the record in the new kernel. Ctrl-C ends it, with the record in the session and nothing left
    armed.

    \b
      tracekit record -o SESSION
      tracekit record -o SESSION --events scheduling --events 'block:*'
      tracekit record --cleanup                         after a kill -9
    """
    from tracekit.capture.record import armed

    if last_snapshot:  # systemd waits for this on the way out: no more is imported
        if (running := armed.recording()) is not None:
            armed.ask_for_release(running.pid)
        say(f"saved: {running.session}" if running else "nobody is recording")
        return
    from tracekit.capture.record import recorder as record
    from tracekit.sysroot import Sysroot

    root = Sysroot()
    if cleanup:
        session = record.cleanup(root, progress, options["discard"])
        say(f"put back; the record is in {session}" if session else "nothing was armed")
        return
    wanted = to_options(**options)
    if wanted.luo is not None and options["session"]:
        raise click.UsageError(
            f"-o luo:{wanted.luo} is for 'tracekit handover', which fills the memory before it "
            "jumps: record with -o DIR on a tmpfs, then hand over with -o luo:NAME"
        )
    signals = Signals()
    recorder = record.Recorder(root, wanted, progress)
    signals.armed()
    recorder.stand_by()
    say_diagnostics(recorder.diagnostics)
    wanted = recorder.options
    say(
        f"recording into {wanted.session}: instance {recorder.instance.name}, clock "
        f"{recorder.clock}, probes: {recorder.probing.mode}\n"
        "kexec whenever you like, or 'tracekit handover'; Ctrl-C ends it"
    )
    status = stay(recorder, signals)
    say(f"{_line(status).strip()}\nnext: tracekit report {wanted.session}")
    if as_json:
        document = {
            "session": str(wanted.session),
            "boot": recorder.boot,
            "clock": recorder.clock,
            "probes": status.probes,
            "seconds": status.seconds,
            "events_written": status.stats.written,
            "events_overwritten": status.stats.overrun,
            "events_dropped": status.stats.dropped,
            "probe_records": status.bpf_records,
            "probe_records_lost": status.bpf_lost,
        }
        show_json(document)
