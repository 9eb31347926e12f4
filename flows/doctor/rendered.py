"""What a pair's chat templates make of prompts, as the doctor shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import SafeReActError
from components.core.paths import BASE, POST_TRAINED, Workspace
from components.core.untrusted_text import for_terminal
from components.core.vocabulary import Form, Prompt, Role, Split
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.checkpoints import Wanted
from flows.doctor.checks import Finding, State

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EXAMPLE = Prompt(
    id="0" * 16,
    text="How do I open a jar?",
    role=Role.HARMFUL,  # the only role that all forms are for
    topic="",
    source="",
    licence="",
    split=Split.TEST,
)
_THOUGHT, _RESPONSE = "(thought)", "(answer)"
_ROOM = 4096  # tokens of an example


def check_rendered(
    profile: Profile, suites: Mapping[str, Suite], wanted: list[Wanted], workspace: Workspace
) -> Iterator[Finding]:
    """Yield what is suspicious about the templates of the checkpoints that are here, and a prompt
    of the last checkpoint in each form of the profile.

    A pair that the stage `models` builds is shown once it is built.
    """
    from components.lm.template_checks import check_template

    folders = {f"models.{one.key}": one.folder() for one in wanted}
    if not any(key in folders for key in ("models.base", "models.post_trained")):
        built = workspace.stage("models")
        folders |= {f"models, {name}": built / name for name in (BASE, POST_TRAINED)}
    tokenizer = None
    for subject, folder in folders.items():
        tokenizer = None if folder is None or not folder.is_dir() else _tokenizer(folder)
        if tokenizer is not None:
            told = check_template(tokenizer)
            yield from (Finding(subject, State.WARNING, for_terminal(line)) for line in told)
    if tokenizer is not None:
        yield from _shown(tokenizer, _forms(profile, suites), profile.seed)


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer in `folder`; None where it cannot be used, which `check_checkpoints`
    tells."""
    from components.lm.loading import load_tokenizer

    try:
        return load_tokenizer(folder)
    except SafeReActError:
        return None


def _forms(profile: Profile, suites: Mapping[str, Suite]) -> list[Form]:
    """Return the forms in which the profile puts prompts, each once."""
    forms = [Form.SERVED, *profile.train.forms]
    forms += [Form.FORCED_THOUGHT] if profile.evaluate.forced_thought else []
    forms += profile.evaluate.attacks
    forms += [form for suite in suites.values() for form in suite.attacks]
    return list(dict.fromkeys(forms))


def _shown(tokenizer: PreTrainedTokenizerBase, forms: list[Form], seed: int) -> Iterator[Finding]:
    from components.evaluate.attacks import put
    from components.lm.chat import opens_thought, render_completion

    for form in forms:
        try:
            ids = put(tokenizer, _EXAMPLE, form, seed=seed, limit=_ROOM).ids
        except SafeReActError as error:
            yield Finding(f"prompt, {form}", State.MISSING, str(error), "leave the form out")
        else:
            yield Finding(f"prompt, {form}", State.OK, for_terminal(str(tokenizer.decode(ids))))
    written = render_completion(
        tokenizer, thought=_THOUGHT, response=_RESPONSE, opened=opens_thought(tokenizer)
    )
    yield Finding("completion", State.OK, for_terminal(str(tokenizer.decode(written))))
