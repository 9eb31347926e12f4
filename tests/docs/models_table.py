"""The tables of docs/models.md: `python -m tests.docs.models_table` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.core.paths import SUITES
from components.models.settings import Checkpoints, Shape
from components.prepare.suites import used_suites
from components.profile import Profile, load_profile
from flows.doctor.estimate import (
    GB,
    Estimate,
    Workload,
    parameters,
    workloads,
)
from tests.components.lm.architectures import REFUSED, SUPPORTED
from tests.docs.durations import GPUS, evaluation_seconds, judging_seconds, training_seconds
from tests.root import ROOT

PAGE = ROOT / "docs" / "models.md"
_BLOCK = "<!-- {name}: written by `python -m tests.docs.models_table` -->\n"


def models_page(text: str) -> str:
    """Return the page `text` with its tables as the profiles and estimates give them."""
    for name, lines in (
        ("architectures", architectures()),
        ("pairs", pairs()),
        ("tests", tests()),
        ("memory", memory()),
        ("time", time()),
    ):
        start = re.escape(_BLOCK.format(name=name))
        table = "".join(f"{line}\n" for line in lines)
        text, found = re.subn(f"({start})(?:\\|.*\n)*", lambda m, t=table: m[1] + t, text)
        assert found == 1, f"the page has {found} blocks {name!r}"
    return text


def described() -> list[tuple[Profile, Checkpoints, Shape]]:
    """Return the profiles of hub models with their shapes, smallest first."""
    profiles = [load_profile(path) for path in (ROOT / "profiles").glob("*.yaml")]
    found = [
        (profile, profile.models, profile.models.shape)
        for profile in profiles
        if isinstance(profile.models, Checkpoints) and profile.models.shape
    ]
    return sorted(found, key=lambda row: (parameters(row[2]), row[0].name))


def loads(profile: Profile) -> list[Workload]:
    return workloads(profile, used_suites(profile.prepare.suites, ROOT / SUITES))


def architectures() -> Iterator[str]:
    yield "| | blocks | `model_type` |"
    yield "|---|---|---|"
    for verdict, table in (("supported", SUPPORTED), ("refused", REFUSED)):
        for blocks, kinds in table.items():
            yield f"| {verdict} | {blocks} | {', '.join(f'`{kind}`' for kind in sorted(kinds))} |"


def pairs() -> Iterator[str]:
    yield "| profile | post-trained | base | may teach |"
    yield "|---|---|---|---|"
    for profile, models, _ in described():
        cells = [
            f"`{profile.name}`",
            _checkpoint(models.post_trained, models.post_trained_revision),
            _checkpoint(models.base, models.base_revision),
            ", ".join(profile.probe.teachers),
        ]
        yield f"| {' | '.join(cells)} |"


def _checkpoint(name: str, revision: str | None) -> str:
    return f"{name} at `{revision[:12]}`" if revision else f"{name}, **not pinned**"


def tests() -> Iterator[str]:
    yield "| profile | named suites, with their judges | judge of its own prompts | attacks |"
    yield "|---|---|---|---|"
    for profile, *_ in described():
        evaluate = profile.evaluate
        suites = [
            f"`{name}` ({suite.prompts or 'all'}, {suite.judge})"
            for name, suite in used_suites(profile.prepare.suites, ROOT / SUITES).items()
        ]
        own = {role.value: evaluate.judged_by.get(role, "rules") for role in evaluate.prompts}
        by_judge = {
            judge: [role for role, ruling in own.items() if ruling == judge]
            for judge in dict.fromkeys(own.values())
        }
        cells = [
            f"`{profile.name}`",
            ", ".join(suites),
            "; ".join(f"{judge}: {', '.join(roles)}" for judge, roles in by_judge.items()),
            ", ".join(evaluate.attacks) + f"; {evaluate.attack_prompts} prompts a suite",
        ]
        yield f"| {' | '.join(cells)} |"


def memory() -> Iterator[str]:
    yield (
        "| profile | parameters | training, bf16 | the same, activations computed again | "
        "training, 4 bits | training, bf16, on each of 4 GPUs | generation, bf16 | judging, bf16 |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for profile, _, shape in described():
        whole = Estimate(profile, shape).training()
        sizes = [
            whole.total,
            Estimate(profile, shape).training(checkpointed=True).total,
            Estimate(profile, shape, "nf4").training().total,
            whole.on_each_of(4),
            Estimate(profile, shape).generation(loads(profile)).total,
            Estimate(profile, shape).judging(loads(profile)).total,
        ]
        cells = [f"`{profile.name}`", f"{parameters(shape) / 1e9:.2f} billion"]
        cells += [f"{size / GB:.0f} GB" for size in sizes]
        yield f"| {' | '.join(cells)} |"


def time() -> Iterator[str]:
    yield f"| profile | {' | '.join(gpu.name for gpu in GPUS)} |"
    yield "|---|" + "---|" * len(GPUS)
    for profile, _, shape in described():
        cells = [f"`{profile.name}`"]
        for gpu in GPUS:
            again = Estimate(profile, shape).checkpoints(gpu.memory)
            fits = [
                memory.total <= gpu.memory
                for memory in (
                    Estimate(profile, shape).training(checkpointed=again),
                    Estimate(profile, shape).generation(loads(profile)),
                    Estimate(profile, shape).judging(loads(profile)),
                )
            ]
            four = Estimate(profile, shape, "nf4").training().total <= gpu.memory
            seconds = [
                training_seconds(profile, shape, gpu, checkpointed=again),
                evaluation_seconds(profile, loads(profile), shape, gpu),
                judging_seconds(profile, loads(profile), gpu),
            ]
            otherwise = ["4 bits" if four else "several GPUs", "smaller batch", "smaller guard"]
            parts = [
                f"{spent / 3600:.1f} h" if fit else word
                for spent, fit, word in zip(seconds, fits, otherwise, strict=True)
            ]
            cells.append(" + ".join(parts))
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(models_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
