"""Finding BCC outside of the virtual environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tracekit.probes import bcc_module


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory in the place of the system's packages; no bcc is loaded."""
    monkeypatch.setattr(bcc_module, "_SYSTEM", (str(tmp_path),))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    (tmp_path / "bcc").mkdir()
    return tmp_path / "bcc" / "__init__.py"


def test_the_systems_packages_are_looked_through(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.write_text("from .table import TABLE\nBPF = TABLE\n")
    (system.parent / "table.py").write_text("TABLE = 7\n")
    spec = bcc_module.find_bcc()
    assert spec is not None and spec.origin == str(system)
    assert "bcc" not in sys.modules
    module = bcc_module.import_bcc()
    assert module.BPF == 7
    assert bcc_module.import_bcc() is module
    for name in ("bcc", "bcc.table"):
        monkeypatch.delitem(sys.modules, name)


def test_a_module_that_does_not_load_leaves_nothing(system: Path) -> None:
    system.write_text("raise OSError('libbcc.so.0: cannot open')\n")
    with pytest.raises(OSError, match="libbcc"):
        bcc_module.import_bcc()
    assert "bcc" not in sys.modules
    shutil.rmtree(system.parent)
    with pytest.raises(ImportError, match="no module bcc"):
        bcc_module.import_bcc()
