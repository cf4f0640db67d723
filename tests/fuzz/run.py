"""Fuzz every parser: ``python -m tests.fuzz.run --seconds 60`` (``make fuzz FUZZ_SECONDS=60``).

The seconds are shared among the targets of :mod:`tests.fuzz.targets`, on as many processors as
there are. What is found is kept in ``tests/fuzz/found/TARGET/``, from where the tests run it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import native
from tests.fuzz.check import examine
from tests.fuzz.targets import HERE, TARGETS, Target

_TAIL = 40  # lines shown of what a target said


@dataclass(frozen=True)
class _Batch:
    """Targets of one process."""

    engine: str
    names: tuple[str, ...]
    environment: dict[str, str]


def _usable(targets: Sequence[Target]) -> tuple[list[Target], dict[str, str]]:
    """(the targets that can be fuzzed here, the environment of the native ones)."""
    environment: dict[str, str] = {}
    left = list(targets)
    try:
        environment = native.build() if any(t.native for t in left) else {}
    except native.Missing as missing:
        print(f"NOT FUZZED: the C code; this needs {missing}", flush=True)
        left = [t for t in left if not t.native]
    if importlib.util.find_spec("atheris") is None:
        print(
            "NOT FUZZED: the Python parsers; this needs Atheris, which has wheels for Linux on "
            "x86_64 only: pip install '.[fuzz]'",
            flush=True,
        )
        left = [t for t in left if t.native]
    return left, environment


def _batches(
    targets: Sequence[Target], slots: int, environment: dict[str, str]
) -> list[list[_Batch]]:
    """For every slot its processes, one after the other."""
    planned = []
    for slot in range(slots):
        mine = targets[slot::slots]
        kinds = (
            ("libfuzzer", [t.name for t in mine if t.native], environment),
            ("atheris", [t.name for t in mine if not t.native], {}),
        )
        planned.append([_Batch(e, tuple(names), more) for e, names, more in kinds if names])
    return planned


def _fixed_addresses() -> list[str]:
    """What starts a program without random addresses, if this machine's are too random.

    The sanitizers of clang before 18 have no room where more than 28 bits are random.
    """
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    start = ["setarch", "-R"]
    if not bits.exists() or int(bits.read_text()) <= 28 or shutil.which(start[0]) is None:
        return []
    return start if subprocess.run([*start, "true"], check=False).returncode == 0 else []


def _fuzz(batches: Sequence[_Batch], seconds: float) -> Iterator[tuple[str, int]]:
    """(target, exit code) of every target as it ends."""
    for batch in batches:
        start = _fixed_addresses() if batch.environment else []
        command = [*start, sys.executable, "-m", "tests.fuzz.engine", batch.engine, str(seconds)]
        process = subprocess.Popen(
            [*command, *batch.names],
            cwd=native.ROOT,
            env={**os.environ, **batch.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        ended = set()
        assert process.stdout is not None
        for line in process.stdout:
            name, _, status = line.strip().rpartition(" ")
            ended.add(name)
            yield name, int(status)
        process.wait()
        yield from ((name, process.returncode or 1) for name in batch.names if name not in ended)


def _report(name: str, status: int) -> None:
    """What became of one target."""
    log = native.BUILD / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    done = dict(line.rsplit(":", 1) for line in lines if line.startswith("stat::"))
    coverage = [line for line in lines if " cov: " in line]
    covered = coverage[-1].partition(" cov: ")[2].split()[0] if coverage else "?"
    ran = done.get("stat::number_of_executed_units", "?").strip()
    print(f"{name:16} {ran:>9} inputs, {covered:>6} places reached", flush=True)
    if status:
        print("\n".join(["", f"FOUND in {name}:", *lines[-_TAIL:], ""]), flush=True)
        print(f"again: {sys.executable} -m tests.fuzz.run --replay FILE {name}", flush=True)


def _replay(file: Path, names: Sequence[str]) -> int:
    for name in names:
        examine(TARGETS[name], file.read_bytes())
        print(f"{file}: nothing wrong in {name}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="in all (default 60)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="these alone")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if options.replay:
        return _replay(options.replay, options.targets or [options.replay.parent.name])
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    targets, environment = _usable(chosen)
    if not targets:
        print("nothing was fuzzed", file=sys.stderr)
        return 1
    slots = min(len(os.sched_getaffinity(0)), len(targets))
    each = options.seconds * slots / len(targets)
    print(f"{len(targets)} targets, {each:.1f} s each, {slots} at a time", flush=True)
    wrong = []
    with ThreadPoolExecutor(slots) as pool:

        def one(batches: list[_Batch]) -> None:
            for name, status in _fuzz(batches, each):
                _report(name, status)
                if status:
                    wrong.append(name)

        list(pool.map(one, _batches(targets, slots, environment)))
    for folder in (HERE / "found").glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()
    print(f"wrong: {', '.join(sorted(wrong))}" if wrong else "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
