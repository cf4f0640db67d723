"""What of a kallsyms is looked for to read the running kernel's memory."""

from __future__ import annotations

from tracekit.capture.kho.kernel_view import needed_symbols

KALLSYMS = b"""0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff82a01000 b kho_out
ffffffff82a01008 b kho_out_other
ffffffff82a02000 d luo_file_handler_list
ffffffffc0000000 t kho_out\t[module]
"""


def test_only_the_lines_that_are_looked_for_are_kept() -> None:
    kept = needed_symbols(KALLSYMS)
    assert kept.split(b"\n") == [
        b"ffffffff82a01000 b kho_out", b"ffffffff82a02000 d luo_file_handler_list", b"",
    ]  # fmt: skip
    assert needed_symbols(kept) == kept
