"""A stage in several processes: started by the launcher that `SAFEREACT_LAUNCHER` names.

`torchrun --nproc-per-node 2` and `accelerate launch --config_file docs/fsdp.yaml` are such
launchers. Each process calls the stage's function on the same folder; the first one writes.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.core.documents import read_yaml
from components.core.errors import ConfigError, SafeReActError, StageError
from components.core.run_record import run_record, take_parts
from components.core.storage import write_text

VARIABLE = "SAFEREACT_LAUNCHER"
_FAILURE, _COSTS = ".failure", ".costs"
_GRACE_SECONDS = 10.0

log = logging.getLogger(__name__)


def named_launcher() -> list[str]:
    """Return the launcher's words; none: the stage runs in this process."""
    return shlex.split(os.environ.get(VARIABLE, ""))


def divides_model(root: Path) -> bool:
    """Return whether the launcher divides the model among its processes, as FSDP does.

    `accelerate launch` says so by `--use_fsdp`, or by the file after `--config_file`, which lies in
    `root` where it is relative. All other launchers put the whole model on each device. Raises
    `ConfigError` where that file cannot be read.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--use_fsdp", "--use-fsdp", action="store_true")
    parser.add_argument("--config_file", "--config-file", type=Path)
    try:
        words = named_launcher()
        options, _ = parser.parse_known_args(words)
    except (ValueError, ArgumentError):  # what no launcher reads either
        return False
    if not words or not Path(words[0]).name.startswith("accelerate"):
        return False
    if options.config_file is None or options.use_fsdp:
        return bool(options.use_fsdp)
    settings = read_yaml(root / options.config_file)
    return str(settings.get("distributed_type")).upper() == "FSDP"


def launch(command: list[str], stage: str, profile: str, out: Path) -> None:
    """Run `stage` into `out` in the processes that the launcher starts, and wait for them.

    What their parts cost goes into this process's run record. Raises `StageError` with the message
    of the process that failed, `ChildProcessError` where the processes ended without one, so that
    they can go on next time, and `ConfigError` where there is no such launcher.
    """
    words = ["-m", "components", stage, "--profile", profile, "--into", str(out)]
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    failure = out / _FAILURE
    for old in (failure, *_costs_in(out)):
        old.unlink(missing_ok=True)
    log.info("%s: started by %s", stage, shlex.join(command))
    try:
        child = subprocess.Popen([*command, *words], env={**os.environ, "PATH": places})
    except OSError as error:
        raise ConfigError(
            f"{VARIABLE} names {command[0]!r}, which cannot be run: {error}"
        ) from error
    try:
        code = child.wait()
    except BaseException:  # end the launcher, which ends its processes
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
        child.kill()
        raise
    if failure.is_file():
        message = failure.read_text(encoding="utf-8")
        failure.unlink()
        raise StageError(message)
    if code != 0:
        raise ChildProcessError(
            f"the processes of {command[0]} ended with code {code}; run the stage again, and it "
            "goes on from the last checkpoint"
        )
    take_parts(_costs_in(out))
    for costs in _costs_in(out):
        costs.unlink()


def _costs_in(out: Path) -> list[Path]:
    return sorted(out.glob(f"{_COSTS}-*"))


@contextmanager
def reported(out: Path) -> Iterator[None]:
    """Leave in `out`, where `launch` finds it, the message of an error, else what this process
    cost."""
    try:
        with run_record(out / f"{_COSTS}-{os.environ.get('RANK', '0')}"):
            yield
    except SafeReActError as error:
        write_text(out / _FAILURE, str(error))
        raise


def is_first() -> bool:
    """Return whether this process is the first of those that a launcher started, or the only."""
    return os.environ.get("RANK", "0") == "0"
