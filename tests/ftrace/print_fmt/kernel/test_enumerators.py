"""Enumerators by release, where no BTF was saved."""

from __future__ import annotations

from tracekit.ftrace.print_fmt.kernel.enumerators import enumerators_of


def test_between_two_releases_only_what_all_agree_on() -> None:
    always, once = enumerators_of((6, 6)), enumerators_of((6, 12))
    assert always["nvme_cmd_read"] == once["nvme_cmd_read"] == 2
    assert once["EXTENT_NEW"] == 16  # 8 in 6.6
    assert "EXTENT_NEW" not in always


def test_releases_that_were_not_looked_at() -> None:
    for version in ((5, 9), (7, 4), None):
        assert enumerators_of(version) == {}
