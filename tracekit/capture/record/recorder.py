"""Recording: arms the trace instance and the probes, and keeps the session up to date.

Until the jump the session always holds what is needed to decode the region: a recorder that is
killed, or whose machine jumps without notice, costs no more than the names and counters of the last
seconds. The instance's previous state is written down before anything is armed, so that
:func:`cleanup` can restore it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracekit.capture.cmdline.session_param import (
    luo_from_cmdline,
    named_session,
    session_from_cmdline,
    waiting_session,
)
from tracekit.capture.record.armed import Armed, ArmedFile
from tracekit.capture.record.chosen import chosen_instance, survival
from tracekit.capture.record.earlier import refuse_to_wipe
from tracekit.capture.record.instance import Instance, Stats, find_instance, globs
from tracekit.capture.record.probes import Probing, define_kprobes, enable_kprobes, prepared_probes
from tracekit.capture.record.region import region_of
from tracekit.capture.recover.luo_session import receive
from tracekit.capture.recover.recover import recover
from tracekit.capture.recover.regions import recovered_in
from tracekit.capture.save import systemd
from tracekit.capture.save.boot_files import Saving, refresh_boot, save_boot, save_symbols
from tracekit.capture.save.bpf_store import bpf_records
from tracekit.capture.save.clocks import sample_trace_clock
from tracekit.capture.save.clocksource import best_clock, read_tsc_trust
from tracekit.capture.save.snapshot import open_boot
from tracekit.errors import Diagnostic, NothingToRecover, SourceError, UsageError
from tracekit.frozen import dataclass
from tracekit.probes.marks import MARK, SNAPSHOT, SNAPSHOT_TAKEN
from tracekit.probes.records import RECORD
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter
from tracekit.session.files import write_all
from tracekit.sysroot import Sysroot

__all__ = ["Options", "Recorder", "Status", "cleanup", "recording_clock"]

_REFRESH = 10.0  # seconds between savings of what changes
_COUNTERS = 1.0  # seconds between readings of the per-CPU counters
_BOOT_ID = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Options:
    """What to record, and where.

    ``follow``: nobody named the session, so it is that of the kernel before where its record is
    recovered first. ``carrier`` is the one to record on (None: that of the first instance).
    """

    session: Path
    events: tuple[str, ...] = ("handover",)
    instance: str | None = None
    clock: str | None = None
    bpf: bool = True
    discard: bool = False
    follow: bool = False
    carrier: str | None = None
    luo: str | None = None  # the session is to cross in memory, under this name


@dataclass(frozen=True, slots=True)
class Status:
    """What is shown while recording. ``seconds`` since it began; counts of events and records."""

    seconds: float
    stats: Stats
    probes: str
    bpf_records: int
    bpf_lost: int


class Recorder:
    """A recording in progress, from its creation until :meth:`stop` or :meth:`leave_armed`.

    Raises :class:`~tracekit.errors.SourceError` where it cannot record, before anything is armed.
    """

    def __init__(self, root: Sysroot, options: Options, progress: Progress = no_progress) -> None:
        root.need_root("record", instead="")
        self.root = root
        self.options = options
        self.instance = chosen_instance(root, options.instance, options.carrier)
        self._globs = globs(options.events)
        self.clock = options.clock or recording_clock(root, self.instance)
        if self.clock not in self.instance.clocks:
            raise SourceError(
                f"--clock {self.clock}: this kernel has {', '.join(self.instance.clocks)}"
            )
        self._progress = progress
        self._markers: list[Any] = []
        self._written = 0
        self._begun = time.monotonic()
        self._refreshed = self._counted = self._begun
        self.remarks = Remarks()
        self._check_survival()
        self.released = False
        self._standing_by = False
        self._file = ArmedFile()
        if not self._file.lock():
            armed = self._file.read()
            raise SourceError(
                "another tracekit is recording"
                + (f": pid {armed.pid}, into {armed.session}: stop it first" if armed else "")
            )
        if self._file.read() is not None:
            self.remarks.add(
                "recorder-was-killed", "warning", self.instance.name,
                "an earlier recorder was killed and left it armed: put back first",
            )  # fmt: skip
            _put_back(root, self._file, progress, options.discard)
        self._recover_first()
        self._writer = SessionWriter.open(self.options.session)
        try:
            self._start()
        except BaseException:
            self._give_up()
            raise

    # -- starting -----------------------------------------------------------------------------

    def _start(self) -> None:
        if not self.options.discard:
            refuse_to_wipe(self.root, self.instance, self._writer)
        prepared = prepared_probes(self.root, self._progress) if self.options.bpf else None
        self.boot, kernel, at_hand, _ = open_boot(self.root, self._writer, self.remarks)
        self._kernel = kernel
        self.remarks.where = f"boot {self.boot}"
        self._saving = Saving(
            self.root, self._writer, self.boot, self.remarks, self._progress, at_hand
        )
        self._armed = Armed(
            os.getpid(), str(self._writer.path.resolve()), self.instance.name,
            self.root.text(_BOOT_ID).strip(), self.instance.state(),
        )  # fmt: skip
        self._file.write(self._armed)
        self._part = self._writer.open_part(bpf_records(self.boot))
        whole = os.fstat(self._part).st_size // RECORD.size * RECORD.size
        os.ftruncate(self._part, whole)  # a killed recorder may have left a torn record
        os.lseek(self._part, 0, os.SEEK_END)
        names = self.instance.remember_tasks()
        self._arm()
        save_boot(self._saving, self._kernel)  # from here on a kexec may come
        self._lasting = tuple(self.remarks.diagnostics)
        self._keep_names(names)
        self._writer.finish("snapshot")
        self._saving = replace(self._saving, at_hand={})  # modules may come and go
        with self._progress("loading the probes", None):
            earlier = self._writer.read(f"boots/{self.boot}/bpf.json")
            self.probing = Probing(self.root, self.instance, prepared, self.remarks, earlier)
        save_symbols(self._saving, anew=True)  # the probes' programs have names, too
        self._save()  # kprobe events have formats of their own

    def _check_survival(self) -> None:
        """Remark on a record that nothing keeps; what is recorded until Ctrl-C is of use too."""
        try:
            survival(self.root, self.instance.name)
        except UsageError as error:
            self.remarks.add("record-not-kept", "warning", self.instance.name, str(error))

    def _keep_names(self, before: bytes) -> None:
        """Save the names that the kernel remembered ``before`` it was told to remember more."""
        rel = "tracefs/saved_cmdlines"
        knowledge = self._saving.knowledge
        if (now := knowledge.earlier(rel)) is not None:
            knowledge.keep(rel, now, before)

    def _receive(self, name: str) -> None:
        """Fetch the session that came in memory, if it is the one to record into."""
        session = self.options.session
        if Path(session_from_cmdline(self.root)) != session.absolute():
            return
        try:
            receive(self.root, name, session, self.remarks)
        except NothingToRecover as error:
            self.remarks.add("nothing-recovered", "warning", str(session), str(error))

    def _recover_first(self) -> None:
        """Recover what the previous kernel left, if nobody has: recording may overwrite it."""
        root, session = self.root, self.options.session
        if (name := luo_from_cmdline(root)) is not None:
            self._receive(name)
        if named_session(root.text("proc/cmdline")) is None:  # a reboot or a panic was in between
            waiting = waiting_session(root, str(session)) or waiting_session(root)
            if waiting is None:
                return
            session = waiting
        elif Path(session_from_cmdline(root)) != session.absolute() or not session.exists():
            return
        if recovered_in(session, root.text(_BOOT_ID).strip()):
            return
        try:
            result = recover(root, session, (), self._progress)
        except NothingToRecover as error:
            self.remarks.add("nothing-recovered", "warning", str(session), str(error))
        else:
            if self.options.follow:
                self.options = replace(self.options, session=session)
            message = f"recovered boot {(result.boot or 1) - 1} first"
            self.remarks.add("recovered-first", "info", str(session), message)

    def _arm(self) -> None:
        instance = self.instance
        instance.write("tracing_on", "0")
        instance.disable_all()
        instance.write("trace_clock", self.clock)
        instance.clear()
        missing = instance.enable(self._globs)
        for glob in missing:
            self.remarks.add(
                "event-absent", "info", glob, "no event of this kernel matches; not recorded"
            )
        if len(missing) == len(self._globs):
            raise SourceError(f"--events {' '.join(self._globs)}: this kernel has none of them")
        instance.write("tracing_on", "1")

    # -- while it runs ------------------------------------------------------------------------

    def tick(self, timeout_ms: int = 500) -> Status:
        """Wait up to ``timeout_ms`` for records and save them; returns the current status."""
        records = self.probing.poll(timeout_ms)
        now = time.monotonic()
        # less and less often: a recording of weeks must not consist of counters
        if now - self._counted >= max(_COUNTERS, (now - self._begun) / 1000):
            self._counted = now
            records += self.probing.counters()
        self._store(records)
        if not self.released and now - self._refreshed >= _REFRESH:
            self._save()
        return Status(
            now - self._begun, self.instance.stats(), self.probing.mode,
            self._written, self.probing.lost,
        )  # fmt: skip

    def _store(self, records: bytes) -> None:
        self._written += len(records) // RECORD.size
        if records and not self.released:
            write_all(self._part, records)

    def _mark_clock(self) -> None:
        self._markers += sample_trace_clock(self.root, self.instance.path)

    def mark(self, text: str) -> None:
        """Write ``tracekit: TEXT`` into the record."""
        self.instance.write("trace_marker", MARK + text)

    def _save(self, *, last: bool = False) -> None:
        self._refreshed = time.monotonic()
        self._mark_clock()
        own = (d for d in self.remarks.diagnostics if d.code in _OWN_REMARKS)
        self.remarks.diagnostics = [*dict.fromkeys([*self._lasting, *own])]
        refresh_boot(self._saving, self._markers, last=last)
        self.remarks.diagnostics = [*dict.fromkeys(self.remarks.diagnostics)]
        self._writer.write(f"boots/{self.boot}/bpf.json", self.probing.describe())
        self._writer.set_diagnostics(self.boot, self.remarks.diagnostics)
        os.fsync(self._part)
        self._writer.finish("snapshot")

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The remarks made so far."""
        return tuple(self.remarks.diagnostics)

    # -- ending -------------------------------------------------------------------------------

    def stand_by(self) -> None:
        """Define the kprobe events for :meth:`leave_armed`, so that snapshots have their formats.

        On the way out this would be the longest part of the last snapshot.
        """
        if self.probing.mode == "bpf" and not self._standing_by:
            define_kprobes(self.root, self.instance)
            self._standing_by = True

    def release(self, *, standby: bool = False) -> None:
        """Take the last snapshot, let go of the session, and record on until the jump.

        With ``standby``, :meth:`stand_by` is called first. Marks say how long it took.
        """
        if self.released:
            return
        if standby:
            self.stand_by()
        with suppress(SourceError):  # nothing is written where it was stopped
            self.mark(SNAPSHOT)
        self._store(self.probing.poll(0) + self.probing.counters())
        self._save(last=True)
        self._save_systemd()
        with suppress(SourceError):
            self.mark(SNAPSHOT_TAKEN)
        self.released = True
        os.close(self._part)
        self._writer.__exit__()
        self._armed = replace(self._armed, released=True)
        self._file.write(self._armed)

    def _save_systemd(self) -> None:
        """Save systemd's milestones of the shutdown so far, beside those of the boot."""
        if not systemd.running():
            return
        try:
            data = systemd.renewed(self._writer.path, self.boot)
        except SourceError as error:
            self.remarks.add("systemd-silent", "info", "systemctl show", str(error))
        else:
            self._writer.write(systemd.milestones(self.boot), data)
            self._writer.finish("snapshot")

    def leave_armed(self) -> None:
        """Let the instance record on alone: kprobe events replace the probes that die with us."""
        self.release(standby=True)
        enable_kprobes(self.instance)
        self.probing.close()

    def stop(self) -> None:
        """End the recording: fetch the region into the session, then restore everything."""
        self._mark_clock()
        self.instance.write("tracing_on", "0")
        self.release()
        self.probing.close()
        _put_back(self.root, self._file, self._progress, discard=False)

    def _give_up(self) -> None:
        """Nothing was recorded: leave everything as it was."""
        if probing := getattr(self, "probing", None):
            probing.close()
        if armed := self._file.read():
            self.instance.remove_kprobes()
            self.instance.write("tracing_on", "0")
            self.instance.clear()
            self.instance.restore(armed.before)
        self._file.clear()
        if hasattr(self, "_part") and not os.fstat(self._part).st_size:
            self._writer.remove_part(bpf_records(self.boot))
        self._writer.abandon()
        self._writer.__exit__()


_OWN_REMARKS = (
    "event-absent",
    "nothing-recovered",
    "probe-absent",
    "probes-unavailable",
    "recovered-first",
    "record-not-kept",
    "recorder-was-killed",
)


def recording_clock(root: Sysroot, instance: Instance) -> str:
    """The clock that an instance records on where none is asked for."""
    return best_clock(instance.clocks, instance.clock, read_tsc_trust(root))


def _put_back(root: Sysroot, file: ArmedFile, progress: Progress, discard: bool) -> str | None:
    """Fetch what was recorded into its session, then restore the instance; returns the session."""
    armed = file.read()
    if armed is None or armed.boot_id != root.text(_BOOT_ID).strip():
        file.clear()  # empty, or left by another boot
        return None
    instance = find_instance(root, armed.instance)
    instance.write("tracing_on", "0")
    if not discard and instance.earlier_boot() is None and instance.stats().entries:
        recover(root, armed.session, [region_of(root, instance.name)], progress)
    instance.remove_kprobes()
    instance.clear()
    instance.restore(armed.before)
    file.clear()
    return armed.session


def cleanup(root: Sysroot, progress: Progress = no_progress, discard: bool = False) -> str | None:
    """Restore what a killed recorder left armed, once its record is safe in its session.

    Returns that session, None when nothing was armed. Raises
    :class:`~tracekit.errors.SourceError` when the recorder is alive.
    """
    root.need_root("record --cleanup", instead="")
    with ArmedFile() as file:
        if not file.lock():
            armed = file.read()
            raise SourceError(
                f"the recorder{f' (pid {armed.pid})' if armed else ''} is alive: stop it with "
                "Ctrl-C or SIGTERM, and it cleans up itself"
            )
        return _put_back(root, file, progress, discard)
