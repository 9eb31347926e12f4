"""Arms that train nothing: the post-trained model with other weights, or with other states.

Each is one function under a name, of the model in memory and an amount. It yields the engine of the
changed model and takes the change back. One whole model is in memory: of the base, one tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from components.core.errors import EvidenceError, ModelError
from components.core.extensions import Extensions
from components.core.paths import DIRECTIONS
from components.core.storage import digest_bytes
from components.core.vocabulary import AnyArm, Role, Split
from components.evaluate.completions import ArmModel
from components.evaluate.plan import EvaluationPlan, Written
from components.lm.chat import render_prompt
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity, engine_name
from components.lm.engines.protocol import Engine, Request
from components.lm.generation import engine_of
from components.lm.heads import Head, head_contributions, without_heads
from components.lm.loading import checkpoint_folder, context_length, load_model, load_tokenizer
from components.lm.states import states_from_end
from components.lm.steering import steered
from components.lm.weights import read_weights, some_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.studies.compare.settings import EditName

_PROMPTS = 64  # a role, that say where harmful prompts begin


@dataclass(frozen=True)
class Held:
    """The post-trained model in memory, and what it may be changed by."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    models: Models
    probe: Probe
    prompts: PromptSet
    batch: int

    @property
    def engine(self) -> Engine:
        """What writes with the model as it is at that moment."""
        return engine_of(self.model, self.tokenizer, batch=self.batch)

    @property
    def refuses(self) -> str:
        """Whose direction is that of refusals: the base's; that of a post-trained model of another
        lineage is its own."""
        return "base" if self.models.same_lineage else "post_trained"

    @property
    def base(self) -> Path:
        """The base's folder; raises `ModelError` where its weights mean something else."""
        if not self.models.same_lineage:
            raise ModelError("the base is of another lineage, so its weights cannot be mixed in")
        return checkpoint_folder(self.models, self.models.base)

    @property
    def layer(self) -> int:
        """The target layer that is nearest to the middle."""
        middle = self.models.post_trained.layers / 2
        return min(self.probe.target_layers, key=lambda layer: abs(layer - middle))

    def direction(self, of: str) -> Tensor:
        """Return the unit direction (hidden,) from benign to harmful prompts in one model's states
        at the layer. Raises `EvidenceError` where it cannot be read."""
        path = self.probe.folder / DIRECTIONS
        try:
            return load_file(path)[of][self.layer - 1].float()
        except (OSError, KeyError, IndexError, SafetensorError) as error:
            raise EvidenceError(
                f"{path} does not hold the direction {of!r} at layer {self.layer} ({error}); run "
                "the stage probe again"
            ) from error

    def projections(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Return where the last token of each prompt lies on the post-trained model's direction."""
        states = states_from_end(
            self.model,
            prompts,
            layers=[self.layer],
            pad=int(self.tokenizer.pad_token_id),
            batch=self.batch,
        )[:, 0, 0]
        return states @ self.direction("post_trained")

    @cached_property
    def means(self) -> tuple[float, float]:
        """The mean projections of harmful and of benign training prompts."""
        harmful, benign = (
            float(self.projections(self.training(role)).mean())
            for role in (Role.HARMFUL, Role.BENIGN)
        )
        return harmful, benign

    def refusal(self, strength: float) -> Tensor:
        """Return the direction of refusals; its length is `strength` times the way from the benign
        to the harmful mean."""
        harmful, benign = self.means
        return strength * abs(harmful - benign) * self.direction(self.refuses)

    def training(self, role: Role) -> list[list[int]]:
        """Return the tokens of a role's first training prompts."""
        rows = [row for row in self.prompts.rows(split=Split.TRAIN) if row.role is role]
        return [render_prompt(self.tokenizer, row.text) for row in rows[:_PROMPTS]]


Edit = Callable[[Held, float], AbstractContextManager[Engine]]
EDITS: Extensions[Edit] = Extensions("edits")


@EDITS.register("interpolated")
@contextmanager
def interpolated(held: Held, share: float) -> Iterator[Engine]:
    """Weights that are this share of the way from the post-trained model's to the base's.

    As a task vector (Ilharco et al. 2022, arXiv 2212.04089): base + (1 - share) x what
    post-training changed.
    """
    with _towards_base(held, lambda _: share):
        yield held.engine


@EDITS.register("base-layers")
@contextmanager
def base_layers(held: Held, share: float) -> Iterator[Engine]:
    """The base's weights in this share of the decoder blocks, those that changed most.

    After SafeMERGE (Djuhera et al. 2025, arXiv 2503.17239), which tells the blocks by a safety
    subspace; that takes an unaligned model beside the aligned one. Here they are told by the norm
    of the change over the norm of the base's weights.
    """
    changes = _changes(held)
    chosen = sorted(changes, key=lambda block: -changes[block])[: round(share * len(changes))]
    with _towards_base(held, lambda name: float(_block(name) in chosen)):
        yield held.engine


@EDITS.register("steered")
@contextmanager
def always(held: Held, strength: float) -> Iterator[Engine]:
    """The refusal direction added at every position of every prompt and answer."""
    vector = held.refusal(strength)
    yield steered(held.engine, held.model, held.layer, vector, lambda r: [True] * len(r))


@EDITS.register("steered-if-harmful")
@contextmanager
def if_harmful(held: Held, strength: float) -> Iterator[Engine]:
    """The same where a prompt's last token lies nearer to the harmful than to the benign mean."""
    halfway = sum(held.means) / 2

    def harmful(requests: Sequence[Request]) -> list[bool]:
        found = held.projections([request.prompt for request in requests])
        return [projection > halfway for projection in found.tolist()]

    yield steered(held.engine, held.model, held.layer, held.refusal(strength), harmful)


@EDITS.register("heads-ablated")
@contextmanager
def heads_ablated(held: Held, share: float) -> Iterator[Engine]:
    """The model without this share of its attention heads, those that write most against refusal.

    After Yin et al. 2025 (arXiv 2510.06036), who rank heads by what they write along a probe's
    direction at the last tokens before the answer. Here the direction is that of refusals at the
    layer, and the position is the last one of harmful training prompts.
    """
    contributions = head_contributions(
        held.model,
        held.training(Role.HARMFUL),
        held.direction(held.refuses),
        pad=int(held.tokenizer.pad_token_id),
        batch=held.batch,
    )
    with without_heads(held.model, most_opposed(contributions, share)):
        yield held.engine


def most_opposed(contributions: Tensor, share: float) -> list[Head]:
    """Return the share of heads with the lowest contributions (layer, head), none above 0.

    Raises `ModelError` where there is none.
    """
    order, heads = contributions.flatten().argsort(stable=True).tolist(), contributions.shape[1]
    chosen = order[: round(share * len(order))]
    if not chosen:
        raise ModelError(f"a share of {share:g} of {len(order)} attention heads is none of them")
    opposed = [place for place in chosen if contributions.flatten()[place] < 0]
    if not opposed:
        raise ModelError("no attention head writes against the direction of refusals")
    return [Head(place // heads + 1, place % heads) for place in opposed]


@contextmanager
def _towards_base(held: Held, share: Callable[[str], float]) -> Iterator[None]:
    """Move every weight by its `share` of the way to the base's within the block.

    Afterwards the post-trained model's weights are read again. Raises `ModelError` where the files
    call weights otherwise than the model does.
    """
    own, post_trained = _parameters(held), held.models.post_trained
    try:
        for name, value in read_weights(held.base, own.keys()):
            own[name].lerp_(value.to(own[name]), share(name))
        yield
    finally:
        for name, value in read_weights(checkpoint_folder(held.models, post_trained), own.keys()):
            own[name].copy_(value)


def _changes(held: Held) -> dict[str, float]:
    """Return how much post-training changed every decoder block, by its name."""
    own, squares = _parameters(held), defaultdict[str, list[float]](lambda: [0.0, 0.0])
    for name, value in read_weights(held.base, own.keys()):
        if block := _block(name):
            theirs = value.to(own[name].device).float()
            squares[block][0] += float((own[name].float() - theirs).square().sum())
            squares[block][1] += float(theirs.square().sum())
    return {block: (change / size) ** 0.5 for block, (change, size) in squares.items()}


def _parameters(held: Held) -> dict[str, Any]:
    own = {name: weight.data for name, weight in held.model.named_parameters()}
    stored = {name for name, _ in read_weights(held.base)}
    if missing := own.keys() - stored:
        raise ModelError(
            f"the base's files have {len(missing)} weights under other names, such as "
            f"{some_of(missing)}, so they cannot be mixed in"
        )
    return own


def _block(name: str) -> str | None:
    """Return the decoder block of a weight, such as `model.layers.3`; None: it is of none."""
    front, found, behind = name.partition(".layers.")
    return f"{front}{found}{behind.partition('.')[0]}" if found else None


# --- what the arms write -------------------------------------------------------------------------


def complete_edits(
    plan: EvaluationPlan,
    edits: Mapping[EditName, Sequence[float]],
    models: Models,
    probe: Probe,
    prompts: PromptSet,
    *,
    batch: int,
    finished: FinishedRequests,
) -> tuple[dict[AnyArm, Written], dict[str, str]]:
    """Return what every edit writes in every amount, and why one cannot be made of this pair.

    The arms are called NAME-AMOUNT. Edits need the model in this process.
    """
    chosen = {f"{name}-{a:g}": (name, a) for name, amounts in edits.items() for a in amounts}
    if chosen and engine_name() != "transformers":
        reason = f"it changes a model in memory, and completions are written by {engine_name()}"
        return {}, dict.fromkeys(chosen, reason)
    folder, own = checkpoint_folder(models, models.post_trained), models.post_trained
    written: dict[AnyArm, Written] = {}
    unable: dict[str, str] = {}
    if not chosen:
        return written, unable
    tokenizer = load_tokenizer(folder)
    held = Held(load_model(folder), tokenizer, models, probe, prompts, batch)
    made_of = f"{own.digest} {models.base.digest} {probe.digest_of(probe.folder)}"
    for arm, (name, amount) in chosen.items():
        key = digest_bytes(f"{made_of} {arm} {engine_identity()}".encode())
        try:
            with EDITS.find(name)(held, amount) as engine:
                resumed = finished.resume(engine, key)
                model = ArmModel(arm, resumed, tokenizer, context_length(folder))
                written[arm] = model.complete(plan)
        except ModelError as error:
            unable[arm] = str(error)
    return written, unable
