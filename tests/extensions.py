"""Another package, installed for one test, that adds a part by its entry point."""

from __future__ import annotations

from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, kind: str, name: str, code: str
) -> None:
    """Install a package with one module of this `code` and an entry point in `safereact.<kind>`."""
    module = f"outside_{kind}_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[safereact.{kind}]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(str(folder))
