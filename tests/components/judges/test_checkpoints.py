"""A guard's folder is known by the digest of its files, and another than the pinned is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.storage import digest_folder
from components.judges.checkpoints import digest_of, locate


def test_a_folder_that_is_not_the_pinned_one_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    digest = digest_folder(tmp_path)
    assert locate(str(tmp_path), None, "mine") == (tmp_path, None)
    assert digest_of(tmp_path) == digest
    assert locate(str(tmp_path), digest, "mine") == (tmp_path, digest)
    with pytest.raises(ConfigError, match=f"'mine': the files in .* have the SHA-256 {digest}"):
        locate(str(tmp_path), "0" * 64, "mine")
