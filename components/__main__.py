"""`python -m components STAGE --profile NAME` runs one stage; it is what DVC calls.

Below `dvc repro` the profile is the one of the DVC stage, `STAGE@NAME` or `STAGE-NAME`: `dvc.yaml`
puts no name from `params.yaml` into a command, since a shell would read it. `python -m components
inputs` writes what all stages depend on.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from components.chain import TABLE, split_dvc_name
from components.core.disk import disk_trouble
from components.core.environment import settle_environment
from components.core.errors import ConfigError, SafeReActError
from components.core.launcher import is_first
from components.core.paths import DVC_STAGE, INPUTS, find_root, open_workspace
from components.core.storage import keep_private
from components.core.untrusted_text import Formatter
from components.inputs import check_code, load_settings, write_inputs
from components.profile import load_profile
from components.stages import run_process, run_stage
from components.undeclared_inputs import refuse_unwatched


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return 0, or the error's exit code after one message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m components")
    parser.add_argument("stage", choices=(INPUTS, *TABLE))
    parser.add_argument("--profile", help="name of a file in profiles/; else that of DVC's stage")
    # How `SAFEREACT_LAUNCHER` starts the processes of a stage.
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    level = logging.INFO if is_first() else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    clients = ("httpx", "httpx2", "openai")
    for noisy in (*clients, "great_expectations", "matplotlib", "fontTools", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settle_environment()
    os.umask(0o077)  # completions are nobody else's to read
    try:
        if options.stage == INPUTS:
            write_inputs(find_root())
        else:
            _run(options.stage, options.profile or _profile_of_dvc(options.stage), options.into)
    except SafeReActError as error:
        logging.getLogger("components").error("%s: %s", options.stage, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        trouble = disk_trouble(error)
        if trouble is None and not isinstance(error, OSError):
            raise
        logging.getLogger("components").error("%s: %s", options.stage, trouble or error)
        return 1
    return 0


def _run(stage: str, name: str, into: Path | None) -> None:
    workspace = open_workspace(name)
    for folder in workspace.private:
        keep_private(folder)
    if DVC_STAGE in os.environ:
        check_code(stage, workspace)
        profile = load_settings(workspace)
    else:
        profile = load_profile(workspace.profile_file)
    if into:
        run_process(stage, profile, workspace, into)
    else:
        refuse_unwatched(profile, workspace)
        run_stage(stage, profile, workspace)


def _profile_of_dvc(stage: str) -> str:
    """Return the profile of the DVC stage that runs this; raises `ConfigError` where none does."""
    running, profile = split_dvc_name(os.environ.get(DVC_STAGE, ""))
    if running != stage or not profile:
        raise ConfigError("give --profile NAME, a file in profiles/, or run it by `dvc repro`")
    return profile


if __name__ == "__main__":
    sys.exit(main())
