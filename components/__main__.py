"""`python -m components STAGE --profile NAME`: the front door for DVC."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from components.config import load_profile
from components.disk import disk_trouble
from components.environment import settle_environment
from components.errors import SafeReActError
from components.launcher import is_first
from components.shown import Formatter
from components.watched import refuse_unwatched
from components.workspace import STAGES, STUDIES, open_workspace


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return 0, or the error's exit code after one message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m components", description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, *STUDIES))
    parser.add_argument("--profile", required=True, help="name of a file in profiles/")
    # How `SAFEREACT_LAUNCHER` starts the processes of a stage.
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    level = logging.INFO if is_first() else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("httpx", "great_expectations", "matplotlib", "fontTools", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settle_environment()
    try:
        workspace = open_workspace(options.profile)
        profile = load_profile(workspace.profile_file)
        from components.stages import run_process, run_stage

        if options.into:
            run_process(options.stage, profile, workspace, options.into)
        else:
            refuse_unwatched(profile, workspace)
            run_stage(options.stage, profile, workspace)
    except SafeReActError as error:
        logging.getLogger("components").error("%s: %s", options.stage, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        told = disk_trouble(error)
        if told is None and not isinstance(error, OSError):
            raise
        logging.getLogger("components").error("%s: %s", options.stage, told or error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
