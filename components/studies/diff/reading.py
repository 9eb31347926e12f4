"""Whose log lies at a path, and its files."""

from __future__ import annotations

import re
from pathlib import Path

from components.core.errors import DataError
from components.studies.diff.inspect_log import read_inspect
from components.studies.diff.lm_eval_log import FILE, read_lm_eval
from components.studies.diff.logs import Log, shown

_INSPECT_FOLDER = re.compile(r".+\.eval|\d{4}-\d\d-\d\dT.+\.json")
_LOOKED_FOR = "samples_<task>_<when>.jsonl of lm-eval, or .eval or .json of Inspect"


def read_log(path: Path) -> Log:
    """Return the log of one evaluation at `path`: a file, or a folder with files of one model.

    They lie in the folder itself or in one folder within, as lm-eval makes one for every model.
    Raises `DataError` for what is no log or more than one, and `ConfigError` where a log of Inspect
    is given and its package is not installed.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise DataError(f"{shown(path)} is no file and no folder; give a log: {_LOOKED_FOR}")
    if path.suffix == ".jsonl":
        return read_lm_eval(path, [path])
    if path.suffix in (".eval", ".json"):
        return read_inspect(path, [path])
    raise DataError(f"{shown(path)} is no log; give {_LOOKED_FOR}")


def _read_folder(path: Path) -> Log:
    within = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    found = {
        (reader, place): files
        for place in (path, *within)
        for reader, pattern in ((read_lm_eval, FILE), (read_inspect, _INSPECT_FOLDER))
        if (files := _files(place, pattern))
    }
    if not found:
        raise DataError(f"{shown(path)} holds no log; it is to hold {_LOOKED_FOR}")
    if len(found) > 1:
        places = ", ".join(dict.fromkeys(shown(place) for _, place in found))
        raise DataError(
            f"{shown(path)} holds logs of more than one model or harness, in {places}; name one "
            "folder or file"
        )
    (((reader, _), files),) = found.items()
    return reader(path, files)


def _files(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    named = (one for one in folder.iterdir() if pattern.fullmatch(one.name))
    return sorted(one for one in named if one.is_file())
