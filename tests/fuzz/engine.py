"""One process that fuzzes targets in turn, each in a child of its own.

The parent has imported (and instrumented) everything, so that a child begins at once. Started by
:mod:`tests.fuzz.run`: ``python -m tests.fuzz.engine libfuzzer|atheris SECONDS TARGET...``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.native import BUILD

HERE = Path(__file__).parent
_MEMORY = 1024  # MiB, above which a process has failed
_HANG = 20  # seconds for one input

Fuzz = Callable[[tuple[str, ...], Callable[[bytes], None]], object]


def _libfuzzer() -> Fuzz:
    """The C code under sanitizers, in the environment of :func:`tests.fuzz.native.build`."""
    from tests.fuzz import native

    os.environ.pop("LD_PRELOAD", None)  # not for the symbolizer
    run: Fuzz = native.load().run
    return run


def _atheris() -> Fuzz:
    """The Python code, instrumented."""
    import atheris

    quiet = contextlib.redirect_stderr(io.StringIO())  # it prints a line for every module
    with quiet, atheris.instrument_imports(include=["tracekit"], enable_loader_override=False):
        from tests.fuzz import check, targets

        for target in targets.TARGETS.values():
            for seed in [] if target.native else target.seeds[:4]:
                check.run(target, seed.read_bytes())  # imports what it needs

    def run(options: tuple[str, ...], test: Callable[[bytes], None]) -> None:
        atheris.Setup(list(options), test)
        atheris.Fuzz()

    return run


def _options(name: str, seconds: float, longest: int) -> tuple[str, ...]:
    """libFuzzer's own. What is found goes to ``tests/fuzz/found``, ready to be kept."""
    corpus, found = BUILD / "corpus" / name, HERE / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    words = HERE / "words" / f"{name}.dict"
    folders = [corpus, *(f for k in ("seeds", "found") if (f := HERE / k / name).is_dir())]
    return (
        name, f"-max_total_time={max(1, round(seconds))}", f"-max_len={longest}",
        f"-rss_limit_mb={_MEMORY}", f"-timeout={_HANG}", f"-artifact_prefix={found}/",
        f"-report_slow_units={_HANG}",  # what is slow and no finding is not kept
        "-print_final_stats=1", "-reduce_inputs=1", "-use_value_profile=0",
        *([f"-dict={words}"] if words.exists() else []), *map(str, folders),
    )  # fmt: skip


def _child(fuzz: Fuzz, name: str, seconds: float) -> None:
    """Fuzz one target; the process ends with it."""
    from tests.fuzz.check import examine
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    log = os.open(BUILD / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    warnings.simplefilter("error")

    def test(data: bytes) -> None:
        try:
            examine(target, data)
        except BaseException:  # Atheris does not keep the input, libFuzzer under the same name
            number = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            (HERE / "found" / name / f"crash-{number}").write_bytes(data)
            raise

    fuzz(_options(name, seconds, target.longest), test)


def main(arguments: Sequence[str]) -> int:
    """Fuzz the targets one after the other; one line ``NAME STATUS`` for each."""
    engine, seconds, *names = arguments
    BUILD.mkdir(parents=True, exist_ok=True)
    fuzz = _libfuzzer() if engine == "libfuzzer" else _atheris()
    import tests.fuzz.check  # noqa: F401 - before the children, as what they all need

    for name in names:
        child = os.fork()
        if child == 0:
            try:
                _child(fuzz, name, float(seconds))
            finally:
                os._exit(1)  # the engines end the process themselves, unless something is wrong
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(name, status, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
