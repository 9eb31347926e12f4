"""`python -m components STAGE --profile NAME`: the front door for DVC."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from components.config import load_profile
from components.errors import SafeReActError
from components.workspace import STAGES, open_workspace

# What the environment says already stays. One thread keeps the order of sums, so a stage gives the
# same bytes again, and beats two on small models; threads that wait by sleeping cost nothing, while
# on a busy machine spinning ones take up to 30 times as long.
_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return 0, or the error's exit code after one message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m components", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--profile", required=True, help="name of a file in profiles/")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "great_expectations", "matplotlib", "fontTools", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        workspace = open_workspace(options.profile)
        profile = load_profile(workspace.profile_file)
        from components.stages import run_stage

        run_stage(options.stage, profile, workspace)
    except SafeReActError as error:
        logging.getLogger("components").error("%s: %s", options.stage, error)
        return error.exit_code
    except OSError as error:
        logging.getLogger("components").error("%s: %s", options.stage, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
