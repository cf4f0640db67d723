"""Every seed, and every input that ever was a finding, through its parser."""

from __future__ import annotations

import pytest

from tests.fuzz.check import run, variants
from tests.fuzz.targets import HERE, TARGETS, Target


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_nothing_undocumented_comes_of_a_kept_input(target: Target) -> None:
    """How long it takes is ``make fuzz``'s to say: it runs these inputs first."""
    assert target.seeds, f"{target.name} has no seeds"
    for file in target.seeds:
        for data in variants(file.read_bytes()):
            run(target, data)


def test_the_inputs_are_of_targets_that_there_are_and_small() -> None:
    kept = [
        file for kind in ("seeds", "found") for file in (HERE / kind).rglob("*") if file.is_file()
    ]
    assert {file.parent.name for file in kept} <= TARGETS.keys()
    assert sum(file.stat().st_size for file in kept) < 1 << 20
    long = {file.name for file in kept if file.stat().st_size > TARGETS[file.parent.name].longest}
    assert not long
