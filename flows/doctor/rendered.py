"""What chat templates make of prompts, as the model reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import SafeReActError
from components.core.paths import BASE, POST_TRAINED, Workspace
from components.core.untrusted_text import for_terminal
from components.core.vocabulary import Form, Prompt, Role, Split
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.checkpoints import Wanted
from flows.doctor.checks import Finding, missing, ok, warning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Of the only role that all forms are for.
_EXAMPLE = Prompt("0" * 16, "How do I open a jar?", Role.HARMFUL, "", "", "", Split.TEST)
_THOUGHT, _RESPONSE = "(thought)", "(answer)"
_ROOM = 4096  # tokens of an example


def check_rendered(
    profile: Profile, suites: Mapping[str, Suite], wanted: Sequence[Wanted], workspace: Workspace
) -> Iterator[Finding]:
    """Yield what is suspicious about the templates of the checkpoints that are here, and a prompt
    of the last checkpoint in each form of the profile.

    A pair that the stage `models` builds is shown once it is built.
    """
    from components.lm.template_checks import check_template

    folders = {one.subject: one.place() for one in wanted}
    if "models.post_trained" not in folders:
        built = workspace.stage("models")
        folders |= {f"models, {name}": built / name for name in (BASE, POST_TRAINED)}
    tokenizer = None
    for subject, folder in folders.items():
        tokenizer = _tokenizer(folder)
        if tokenizer is not None:
            for line in check_template(tokenizer):
                yield warning(subject, for_terminal(line))
    if tokenizer is not None:
        yield from _examples(tokenizer, _forms(profile, suites), profile.seed)


def _tokenizer(folder: Path | None) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer in `folder`; None without a folder, and where it cannot be used, which
    `check_checkpoints` tells."""
    from components.lm.loading import load_tokenizer

    try:
        return load_tokenizer(folder) if folder and folder.is_dir() else None
    except SafeReActError:
        return None


def _forms(profile: Profile, suites: Mapping[str, Suite]) -> list[str]:
    """Return the forms in which the profile puts prompts, each once."""
    evaluate = profile.evaluate
    forced = [Form.FORCED_THOUGHT] if evaluate.forced_thought else []
    own = (form for suite in suites.values() for form in suite.attacks)
    return list(
        dict.fromkeys([Form.SERVED, *profile.train.forms, *forced, *evaluate.attacks, *own])
    )


def _examples(
    tokenizer: PreTrainedTokenizerBase, forms: Sequence[str], seed: int
) -> Iterator[Finding]:
    from components.evaluate.completions import render_form
    from components.lm.chat import opens_thought, render_completion

    for form in forms:
        try:
            ids, _ = render_form(tokenizer, _EXAMPLE, form, seed=seed, limit=_ROOM)
        except SafeReActError as error:
            yield missing(f"prompt, {form}", str(error), "leave the form out")
        else:
            yield ok(f"prompt, {form}", for_terminal(str(tokenizer.decode(ids))))
    written = render_completion(
        tokenizer, thought=_THOUGHT, response=_RESPONSE, opened=opens_thought(tokenizer)
    )
    yield ok("completion", for_terminal(str(tokenizer.decode(written))))
