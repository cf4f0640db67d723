"""The CPU's own counter, and clocks read between two readings of it."""

from typing_extensions import Buffer

def counter_sample(clock: int, tries: int, /) -> tuple[int, int, int]:
    """(counter, clock in ns, counter): the narrowest of ``tries`` brackets round a clock.

    The counter is the TSC, or ``cntvct_el0`` on arm64. Raises OSError for a clock there is not,
    NotImplementedError on other machines.
    """

def counter_write(fd: int, data: Buffer, /) -> tuple[int, int]:
    """The counter right before and right after one ``write``; raises as ``counter_sample``."""
