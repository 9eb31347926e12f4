"""The best setting of a search as a profile of its own."""

from __future__ import annotations

import textwrap
from io import StringIO
from itertools import accumulate
from typing import Any

from components.core.errors import ConfigError
from components.core.paths import PROFILE_NAME, Workspace
from components.core.storage import EVERYBODY, write_text
from components.profile import load_profile
from components.studies.tune.trials import Search

_WIDTH = 98  # of the description's lines
_ENDLESS = 1 << 16  # nothing else is wrapped anew


def tuned_workspace(workspace: Workspace, name: str | None) -> Workspace:
    """Return where the best setting goes: the profile `name`, else `<profile>-tuned`.

    Raises `ConfigError` for a name that is not allowed or taken by something other than an earlier
    search of this profile.
    """
    target = Workspace(workspace.root, name or f"{workspace.profile}-tuned")
    if not PROFILE_NAME.fullmatch(target.profile):
        raise ConfigError(
            f"--to {target.profile!r} is not allowed; use small letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit"
        )
    path = target.profile_file
    if path.exists() and not load_profile(path).description.startswith(_origin(workspace)):
        raise ConfigError(
            f"{path} exists and is not of an earlier search of {workspace.profile!r}; name another "
            "profile by --to"
        )
    return target


def write_tuned(workspace: Workspace, target: Workspace, search: Search) -> None:
    """Write the profile of `workspace`, comments and all, into `target` with the best setting.

    The search must have found one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq
    from ruamel.yaml.scalarstring import FoldedScalarString

    assert search.best is not None, "a search without a best setting has nothing to write"
    best = search.trials[search.best]
    yaml, stream = YAML(), StringIO()
    yaml.preserve_quotes, yaml.width = True, _ENDLESS
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(workspace.profile_file.read_text(encoding="utf-8"))
    origin = f"{_origin(workspace)}: trial {best.number} of {len(search.trials)} of the study "
    text = f"{origin}{search.key[:12]}. {document.pop('description', '')}".strip()
    description: Any = FoldedScalarString(text)
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    description.fold_pos = [end - 1 for end in accumulate(len(line) + 1 for line in lines[:-1])]
    document.insert(0, "description", description)
    for section, settings in best.setting.changes().items():
        document[section] = document.get(section) or {}
        for key, value in settings.items():
            document[section][key] = value
            if isinstance(value, list):
                document[section][key] = CommentedSeq(value)
                document[section][key].fa.set_flow_style()  # on one line
    yaml.dump(document, stream)
    write_text(target.profile_file, stream.getvalue(), mode=EVERYBODY)
    load_profile(target.profile_file)


def next_steps(workspace: Workspace, name: str) -> str:
    """Return what was written, and the commands that list and run the profile `name`."""
    watched = workspace.entry or {}
    folders = " ".join(f"--{key} {watched[key]}" for key in ("checkpoints", "prompts"))
    return (
        f"written: profiles/{name}.yaml; now:\n"
        f"  safereact add {name} {folders}\n"
        f"  safereact run --profile {name}"
    )


def _origin(workspace: Workspace) -> str:
    return f"Found by `safereact tune --profile {workspace.profile}`"
