"""Scripts for the lab's guests, and running them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tracekit.errors import LabError
from tracekit.lab import images, kernels
from tracekit.lab.console import Line
from tracekit.lab.machine import BASE_CMDLINE, CMDLINE, Plan, Result, run
from tracekit.lab.store import lab_directory

__all__ = [
    "BASE_CMDLINE",
    "CMDLINE",
    "NEW",
    "OLD",
    "guest_run",
    "handover",
    "need_guests",
    "record",
    "unmet",
]


def _version(series: str) -> str:
    """The lab's newest kernel of a series; the series itself where it has none."""
    try:
        return kernels.choose(series, kernels.available(lab_directory()))
    except LabError:
        return series


OLD, NEW = _version("7.2"), _version("7.3")
SESSION = "/var/lib/tracekit/session"

#: Shell functions that every script begins with.
PRELUDE = f"""
export S={SESSION} TK=/sys/kernel/tracing/instances/tk
mkdir -p /var/lib/tracekit
fail() {{ echo "FAILED: $*"; exit 1; }}
# record OPTIONS...: a recorder in the background, armed when this returns
record() {{
    tracekit record -v -o $S "$@" 2>/tmp/record.log &
    recorder=$!
    until grep -q '^recording into' /tmp/record.log; do
        kill -0 $recorder || {{ cat /tmp/record.log; fail "the recorder ended"; }}
        sleep 0.2
    done
    cat /tmp/record.log
}}
# interrupt: Ctrl-C for the recorder
interrupt() {{
    kill -INT $recorder
    wait $recorder || {{ cat /tmp/record.log; fail "the recorder ended badly"; }}
}}
# marks WORD FILE: 23 markers
marks() {{ for i in $(seq 23); do echo "$1 $i" > "$2"; done; }}
# refused WORDS...: recover must find nothing and say why
refused() {{
    status=0
    tracekit recover "$@" >/tmp/said 2>&1 || status=$?
    sed 's/^/SAID: /' /tmp/said
    [ $status = 5 ] || fail "recover ended with $status"
}}
"""


def record(*options: str) -> str:
    """The command that arms a recorder in the background."""
    return f"record {' '.join(options)}\n"


def handover(kernel: str, *options: str) -> str:
    """The command that hands over to another of the lab's kernels."""
    return (
        f"tracekit handover --kernel /boot/vmlinuz-{kernel} --initrd /boot/initrd -o $S "
        f"{' '.join(options)}\n"
    )


def unmet() -> str | None:
    """What is missing to run guests here, None when nothing is."""
    for tool in ("qemu-system-x86_64", "mke2fs", "busybox"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    lab = lab_directory()
    try:
        there = kernels.available(lab)
        for series in ("7.2", "7.3"):
            kernels.choose(series, there)
    except LabError as error:
        return str(error)
    if not images.root_image_path(lab).exists():
        return "the lab's root image is not built"
    return None


def need_guests() -> None:
    """Skip, loudly, where no guest can run; where ready kernels are named that is a failure."""
    reason = unmet()
    if reason is None:
        return
    message = f"NOT RUN, a real handover: {reason}\n'make lab' makes what is missing"
    if os.environ.get("TRACEKIT_LAB_KERNELS"):
        pytest.fail(message)
    pytest.skip(message)


def guest_run(plan: Plan, base: Path, watch: Callable[[Line], None] = lambda line: None) -> Result:
    """Run the plan's scripts, each behind the prelude; its results lie below ``base``."""
    need_guests()
    scripts = tuple(f"{PRELUDE}\n{script}" for script in plan.scripts)
    output = Path(tempfile.mkdtemp(dir=base)) / "out"
    return run(replace(plan, scripts=scripts), output, watch)
