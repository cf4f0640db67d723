"""Strings of the kernel by number: named where a release has them for certain, else marked."""

from __future__ import annotations

import pytest

from tracekit.ftrace.print_fmt.kernel_strings import KERNEL_STRINGS, string_at


@pytest.mark.parametrize(
    ("array", "number", "version", "text"),
    [
        ("binder_command_strings", 0, None, "BC_TRANSACTION"),
        ("binder_command_strings", 17, (6, 1), "BC_TRANSACTION_SG"),
        ("binder_command_strings", 17, (4, 9), "(?17)"),  # Android's 4.9 has it
        ("binder_command_strings", 17, None, "(?17)"),
        ("binder_command_strings", 20, (6, 12), "BC_CLEAR_FREEZE_NOTIFICATION"),
        ("binder_command_strings", 20, (6, 6), "(?20)"),
        ("binder_command_strings", 22, (4, 9), "unknown"),
        ("binder_command_strings", 22, (7, 3), "unknown"),
        ("binder_command_strings", 22, (7, 4), "(?22)"),  # may have more
        ("binder_command_strings", 22, None, "(?22)"),
        ("binder_return_strings", 17, None, "BR_FAILED_REPLY"),
        ("binder_return_strings", 18, (5, 10), "(?18)"),
        ("binder_return_strings", 19, (5, 15), "BR_ONEWAY_SPAM_SUSPECT"),
        ("binder_return_strings", 22, (7, 2), "BR_CLEAR_FREEZE_NOTIFICATION_DONE"),
        ("binder_return_strings", 1 << 63, (7, 2), "unknown"),
    ],
)
def test_by_release(array: str, number: int, version: tuple[int, int] | None, text: str) -> None:
    assert string_at(array, version)(number) == text


def test_later_releases_append() -> None:
    for steps in KERNEL_STRINGS.values():
        releases = [release for release, _ in steps]
        assert releases == sorted(set(releases))
