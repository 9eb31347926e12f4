"""What this machine lacks to run a profile. Nothing is fetched, started or written."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.chain import dvc_name
from components.core.errors import ConfigError, SafeReActError
from components.core.launcher import divides_model
from components.core.metric_names import Metric
from components.core.paths import BASE, POLICIES, POST_TRAINED, SUITES, Workspace
from components.core.untrusted_text import for_terminal
from components.core.vocabulary import Form, Prompt, Role, Split
from components.gate.policy_files import load_policy, policy_file
from components.judges.calibration import read_cases
from components.judges.opening import check_judge, open_judge
from components.judges.settings import RULES, GuardSettings
from components.prepare.suites import Suite, used_suites
from components.profile import Profile, load_profile
from flows.doctor import machine
from flows.doctor.checkpoints import (
    Wanted,
    complaint,
    find_shape,
    wanted_checkpoints,
    wanted_guard,
    wanted_suite,
)
from flows.doctor.estimate import GUARDS, weight_bytes, workloads
from flows.doctor.findings import Finding, missing, ok, refused, warning
from flows.runner.profiles import profile_problems

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LARGEST = 200 * 2**20  # bytes of prompt files up to which the preparation is tried
# Of the only role that all forms are for.
_EXAMPLE = Prompt("0" * 16, "How do I open a jar?", Role.HARMFUL, "", "", "", Split.TEST)
_ROOM = 4096  # tokens of an example


@dataclass(frozen=True, slots=True)
class Examined:
    """A profile, with the suites and checkpoints that it names."""

    profile: Profile
    workspace: Workspace
    suites: Mapping[str, Suite]
    wanted: Sequence[Wanted]

    @classmethod
    def of(cls, profile: Profile, workspace: Workspace) -> Examined:
        """Return the profile with what it names; no suites where one is not valid, which
        `check_profile_file` finds."""
        try:
            suites = used_suites(profile.prepare.suites, workspace.root / SUITES)
        except ConfigError:
            suites = {}
        return cls(profile, workspace, suites, wanted_checkpoints(profile, workspace.root))

    def judges(self) -> dict[str, set[Role]]:
        """Return the judges that suites name, each with the roles of its suites."""
        evaluate = self.profile.evaluate
        pairs = [(evaluate.judge_of(role), role) for role in evaluate.prompts]
        pairs += [(suite.judge, suite.role) for suite in self.suites.values()]
        asked = {role for _, role in pairs}
        pairs += [(judge, r) for r, judge in evaluate.second_judge.items() if r in asked]
        return {name: {role for judge, role in pairs if judge == name} for name, _ in pairs}


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Yield what was found on this machine for a profile.

    Where the profile itself cannot be read, only the machine is examined.
    """
    yield from machine.check_packages()
    yield from machine.check_repository(workspace)
    yield from machine.check_servers(workspace)
    yield from machine.check_launcher()
    try:
        examined = Examined.of(load_profile(workspace.profile_file), workspace)
    except ConfigError as error:
        yield missing("profile", str(error), "mend the file")
        return
    for check in CHECKS:
        yield from check(examined)


def check_profile_file(examined: Examined) -> Iterator[Finding]:
    """Yield what a run would have against the profile before it begins."""
    profile, workspace = examined.profile, examined.workspace
    problems = [refused("profile", each) for each in profile_problems(profile, workspace)]
    yield from problems or [ok("profile", f"valid and listed, policy {profile.gate.policy}")]


def check_prompts(examined: Examined) -> Iterator[Finding]:
    """Yield every prompt file that is not there or cannot be read and every hub data set that is
    not here; where all are here, what `prepare` leaves of each role."""
    sources, root = examined.profile.prepare.sources, examined.workspace.root
    files = [source.path for source in sources if source.path]
    lost = [path for path in files if not os.access(root / path, os.R_OK)]
    for path in lost:
        lacking = f"{path} {'cannot be read' if (root / path).exists() else 'is not there'}"
        yield missing("prompts", lacking, "put it there, readable; see docs/models.md")
    data = [Wanted("prompts", s.hub, s.revision, "", root, dataset=True) for s in sources if s.hub]
    absent = [one.absent() for one in data if one.place() is None]
    yield from absent
    if lost:
        return
    if here := len(sources) - len(absent):
        yield ok("prompts", f"files of {here} of {len(sources)} sources")
    size = sum((root / path).stat().st_size for path in files)
    if not absent and size > _LARGEST:
        remedy = f"`dvc repro {dvc_name('prepare', examined.profile.name)}` tells"
        yield warning("prompts", f"{size / 1e6:.0f} MB of prompts were not looked into", remedy)
    elif not absent:
        yield from _prepared(examined.profile, root)


def _prepared(profile: Profile, root: Path) -> Iterator[Finding]:
    """Yield what the stage `prepare` leaves of the own prompts, or its error."""
    from components.prepare.stage import build_table

    try:
        with chdir(root):
            table = build_table(profile.prepare, {}, seed=profile.data_seed)
    except SafeReActError as error:
        yield missing("prompts", str(error), "see docs/own-model.md")
    else:
        yield from (ok("prompts", line) for line in table.account)
        left = Counter(row.role for row in table.rows if row.split == Split.TEST)
        yield from _too_few(profile, root, left)


def _too_few(profile: Profile, root: Path, left: Mapping[str, int]) -> Iterator[Finding]:
    """Yield each role of which fewer test prompts would be asked than a rule of the policy needs.

    A policy that cannot be read is left to `check_profile_file`.
    """
    name = profile.gate.policy
    try:
        rules = load_policy(policy_file(name, root / POLICIES)).of_one_look.rules
    except ConfigError:
        return
    for role in Role:
        plain = [rule for rule in rules if not rule.under]
        needed = max((r.min_n for r in plain if Metric.parse(r.metric).suite == role), default=0)
        if (asked := min(left.get(role, 0), profile.evaluate.prompts.get(role, 0))) < needed:
            lacking = f"{asked} {role} test prompts; policy {name} accepts nothing below {needed}"
            yield warning("prompts", lacking, "see docs/own-model.md, How many prompts")


def check_suites(examined: Examined) -> Iterator[Finding]:
    """Yield what is missing here of each of a profile's suites, as the stage `prepare` finds it."""
    suites, root = examined.suites, examined.workspace.root
    lacking = [found for suite in suites.values() if (found := _lacking(suite, root))]
    yield from lacking
    if suites and not lacking:
        yield ok("suites", f"all {len(suites)} are here")


def _lacking(suite: Suite, root: Path) -> Finding | None:
    from components.prepare.sources import check_file

    if data := wanted_suite(suite, root):
        return data.absent() if data.place() is None else None
    origin = suite.source
    try:
        with chdir(root):
            check_file(suite)
    except SafeReActError as error:
        target, url = shlex.quote(origin.path or ""), shlex.quote(origin.url or "")
        command = f"curl -L -o {target} {url}" if origin.url else ""
        return refused(f"suite {suite.name}", error, command)
    return None


def check_judges(examined: Examined) -> Iterator[Finding]:
    """Yield of every judge in use whether it can judge, and whether the labelled cases can be read.

    No weights are loaded and none are fetched. The server of a rubric is asked for its models.
    """
    profile, root = examined.profile, examined.workspace.root
    try:
        cases = read_cases(root / profile.evaluate.calibration)
        yield ok("judges", f"{len(cases)} labelled cases")
    except SafeReActError as error:
        yield missing("judges", str(error), "mend evaluate.calibration")
    for name, roles in examined.judges().items():
        if name != RULES:
            yield _check_judge(profile, name, roles, root)


def _check_judge(profile: Profile, name: str, roles: set[Role], root: Path) -> Finding:
    subject, judges = f"judge {name}", dict(profile.evaluate.judges)
    try:
        check_judge(name, judges, roles)
        settings = judges[name]
        if isinstance(settings, GuardSettings):
            wanted = wanted_guard(name, settings, root)
            if (folder := wanted.place()) is None:
                return wanted.absent()
            # Of a commit in the hub cache nothing is fetched or digested.
            pin = None if wanted.on_hub else settings.revision
            judges[name] = settings.model_copy(update={"model": str(folder), "revision": pin})
        open_judge(name, judges, rules=profile.evaluate.rules, roles=roles).check()
    except SafeReActError as error:
        return missing(subject, str(error), "see docs/judges.md")
    return ok(subject, f"a {settings.kind} that can judge {', '.join(sorted(roles))}")


def check_checkpoints(examined: Examined) -> Iterator[Finding]:
    """Yield whether each checkpoint is pinned, whole, and here, as the stage `models` finds it."""
    if not examined.wanted:
        yield ok("checkpoints", "built from nothing by the stage `models`")
    for one in examined.wanted:
        if (place := one.place()) is None:
            yield one.absent()
        elif wrong := complaint(place, weights_only=one.weights_only):
            yield missing(one.subject, wrong, "download or copy it again")
        else:
            yield ok(one.subject, f"{one.name} is here")


def check_rendered(examined: Examined) -> Iterator[Finding]:
    """Yield what is suspicious about the templates of the checkpoints that are here, which of them
    cannot put the profile's system prompt, and a prompt of the last one in each form.

    A pair that the stage `models` builds is examined once it is built. A checkpoint that cannot be
    used is left to `check_checkpoints`.
    """
    from components.lm.loading import load_tokenizer
    from components.lm.template_checks import check_system, check_template

    system = examined.profile.evaluate.system
    folders = {one.subject: one.place() for one in examined.wanted if not one.weights_only}
    if "models.post_trained" not in folders:
        built = examined.workspace.stage("models")
        folders |= {f"models, {name}": built / name for name in (BASE, POST_TRAINED)}
    tokenizer = None
    for subject, folder in folders.items():
        tokenizer = None
        with suppress(SafeReActError):
            tokenizer = load_tokenizer(folder) if folder and folder.is_dir() else None
        if tokenizer:
            yield from (warning(subject, for_terminal(line)) for line in check_template(tokenizer))
        try:
            if tokenizer and system:
                check_system(tokenizer, system)
        except SafeReActError as error:
            yield missing(subject, for_terminal(str(error)), "leave evaluate.system out")
    if tokenizer:
        yield from _examples(tokenizer, examined)


def _examples(tokenizer: PreTrainedTokenizerBase, examined: Examined) -> Iterator[Finding]:
    """Yield a prompt in each form of the profile, and a completion, as the model reads them."""
    from components.evaluate.completions import render_form
    from components.lm.chat import opens_thought, render_completion

    profile, evaluate = examined.profile, examined.profile.evaluate
    forced = [Form.FORCED_THOUGHT] if evaluate.forced_thought else []
    own = (form for suite in examined.suites.values() for form in suite.attacks)
    put = partial(
        render_form, tokenizer, _EXAMPLE,
        seed=profile.data_seed, limit=_ROOM, system=evaluate.system,
    )  # fmt: skip
    for form in dict.fromkeys(
        [Form.SERVED, *profile.train.forms, *forced, *evaluate.attacks, *own]
    ):
        try:
            ids, _ = put(form=form)
        except SafeReActError as error:
            yield missing(f"prompt, {form}", str(error), "leave the form out")
        else:
            yield ok(f"prompt, {form}", for_terminal(str(tokenizer.decode(ids))))
    opened = opens_thought(tokenizer)
    written = render_completion(tokenizer, thought="(thought)", response="(answer)", opened=opened)
    yield ok("completion", for_terminal(str(tokenizer.decode(written))))


def check_sizes(examined: Examined) -> Iterator[Finding]:
    """Yield whether disks, devices and memory are large enough for the profile."""
    profile, workspace, suites = examined.profile, examined.workspace, examined.suites
    shape = find_shape(profile, examined.wanted)
    if shape is None:
        lacking = "nothing here tells the model's size, so memory and disk were not estimated"
        yield warning("size", lacking, "put the checkpoint there, or give its models.shape")
        return
    sizes = [(one, weight_bytes(shape, "bf16")) for one in examined.wanted]
    for name in examined.judges():
        judge = profile.evaluate.judges.get(name)
        if isinstance(judge, GuardSettings):
            size = weight_bytes(GUARDS[judge.kind], "bf16")
            sizes.append((wanted_guard(name, judge, workspace.root), size))
    absent = [size for one, size in sizes if one.on_hub and one.place() is None]
    yield from machine.check_disk(profile, shape, absent, workspace.root)
    device, sharing = machine.find_device(), 1
    yield from machine.check_device(profile, shape, device)
    try:
        sharing = device.count if divides_model(workspace.root) else 1
    except ConfigError as error:
        yield missing("launcher", str(error), "mend its config file")
    loads = workloads(profile, suites)
    yield from machine.check_memory(profile, loads, shape, device, sharing=sharing)


CHECKS = (
    *(check_profile_file, check_prompts, check_suites, check_judges),
    *(check_checkpoints, check_rendered, check_sizes),
)
