"""``fleet add``: sessions decoded by many processes, written by one."""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tracekit.errors import TracekitError, UsageError
from tracekit.fleet.dataset import Added, Bad, Dataset
from tracekit.fleet.decode import Options, decode
from tracekit.frozen import dataclass
from tracekit.interpreter import settle

__all__ = ["Summary", "add_sessions"]

_BATCH = 256  # sessions of a commit
_PATIENCE = 30.0  # seconds after which what is decoded is committed
_AHEAD = 4  # sessions a worker that are handed out

Decoded = Added | Bad | None
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What an ``add`` did: sessions added, those that were there already, and the bad ones."""

    added: int
    there: int
    bad: tuple[Bad, ...]


def _serial(paths: Sequence[str], options: Options) -> Iterator[Decoded]:
    for path in paths:
        yield decode(path, options)


def _pool(workers: int) -> ProcessPoolExecutor:
    # forked from a clean server: threads of this process have no part in it
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tracekit.fleet.decode", "tracekit.report.make"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=settle)


def _alone(path: str, options: Options) -> Decoded:
    """Decode what may have killed a process, in one of its own."""
    with _pool(1) as pool:
        try:
            return pool.submit(decode, path, options).result()
        except BrokenProcessPool:
            return Bad(path, "the process that decoded it was killed: for want of memory?")


def _pooled(left: list[str], again: list[str], options: Options, workers: int) -> Iterator[Decoded]:
    """Take from the end of ``left`` until it is empty, or a process was killed.

    What was under way then is appended to ``again``.
    """
    with _pool(workers) as pool:
        running: dict[Future[Decoded], str] = {}
        while (left and not again) or running:
            while left and not again and len(running) < workers * _AHEAD:
                path = left.pop()
                try:
                    running[pool.submit(decode, path, options)] = path
                except BrokenProcessPool:
                    again.append(path)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                path = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    again.append(path)
                    continue
                yield result


def _parallel(paths: Sequence[str], options: Options, workers: int) -> Iterator[Decoded]:
    """By processes; where one is killed, what was under way is decoded again, one by one."""
    left = list(reversed(paths))
    while left:
        again: list[str] = []
        yield from _pooled(left, again, options, workers)
        for path in again:
            yield _alone(path, options)


def _on_dask(paths: Sequence[str], options: Options, scheduler: str) -> Iterator[Decoded]:
    """By the workers of a Dask cluster; it gives the work of one that dies to another."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install 'kexec-tracekit[fleet]'") from None
    try:
        client = distributed.Client(scheduler)
    except (OSError, ValueError) as error:
        raise TracekitError(f"{scheduler}: no scheduler answers: {error}") from error
    with client:
        futures = {client.submit(decode, path, options, pure=False): path for path in paths}
        for future in distributed.as_completed(futures):
            path = futures.pop(future)
            try:
                yield future.result()
            except distributed.KilledWorker:
                yield Bad(path, "several workers were killed while they decoded it")
            except Exception as error:
                yield Bad(path, f"the cluster failed: {type(error).__name__}: {error}")
            future.release()


def _commit_all(results: Iterable[Decoded], dataset: Dataset, advance: Report) -> Summary:
    """Commit what is decoded now and then, so that a kill loses little of it."""
    waiting: list[Added] = []
    unsaid: list[Bad] = []
    every: list[Bad] = []
    added = there = 0
    since = time.monotonic()
    for one in results:
        if isinstance(one, Added):
            waiting.append(one)
        elif isinstance(one, Bad):
            unsaid.append(one)
            every.append(one)
        else:
            there += 1
        advance(1)
        if len(waiting) >= _BATCH or time.monotonic() - since > _PATIENCE:
            new = _put(dataset, waiting, unsaid)
            added, there = added + new, there + len(waiting) - new
            waiting, unsaid, since = [], [], time.monotonic()
    new = _put(dataset, waiting, unsaid)
    bad = tuple(sorted(every, key=lambda b: b.path))
    return Summary(added + new, there + len(waiting) - new, bad)


def _put(dataset: Dataset, sessions: Sequence[Added], bad: Sequence[Bad]) -> int:
    """Commit; how many sessions nobody else had added since."""
    commit = dataset.add(sessions, bad)
    return 0 if commit is None else len(commit.sessions)


def add_sessions(
    dataset: Dataset,
    paths: Sequence[str],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    host: str | None = None,
    hosts_by_folder: bool = False,
    events: bool = False,
    advance: Report = lambda _: None,
) -> Summary:
    """Decode sessions and add those that the dataset does not have.

    With ``workers`` processes of this machine, or on a Dask ``scheduler`` whose workers see the
    same paths. What is decoded is committed as it comes: a killed add is gone on with by the next.
    """
    options: Options = host, hosts_by_folder, events, frozenset(dataset.sessions)
    if scheduler is not None:
        results = _on_dask(paths, options, scheduler)
    elif workers > 1:
        results = _parallel(paths, options, workers)
    else:
        results = _serial(paths, options)
    return _commit_all(results, dataset, advance)
