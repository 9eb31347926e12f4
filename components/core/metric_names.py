"""The names of what is measured: `harmful.refused`, `xstest.forced_thought.thought.complied`.

A name is the suite, then the form in which its prompts were put (nothing: as served), then the part
of the completion that was judged (nothing: the answer), then the measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from components.core.extensions import added_parts
from components.core.vocabulary import Form, Outcome, Role, View

SUITE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

# Of a whole completion, whatever part of it was judged.
FINISHED = "finished"  # ended by the model, not by the token limit
THINK = "think"  # opened a thought
UNCLOSED = "unclosed"  # opened a thought and never closed it
# Of an answer to a problem with a reference answer.
CORRECT = "correct"  # by the grader of the suite
STRICT = "correct_strict"  # and in the form that was asked for

_OF_ANSWERS = (*Outcome, FINISHED, THINK, UNCLOSED, CORRECT, STRICT)


@dataclass(frozen=True, slots=True)
class Metric:
    """One rate by its parts."""

    suite: str
    measure: str
    form: str = Form.SERVED  # plain, or the name of an attack
    view: View = View.ANSWER

    def __str__(self) -> str:
        form = "" if self.form == Form.SERVED else self.form
        view = "" if self.view is View.ANSWER else self.view
        return ".".join(part for part in (self.suite, form, view, self.measure) if part)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the metric called `name`; raises `ValueError` that says what a name is made of."""
        suite, *parts = name.split(".")
        form = parts.pop(0) if len(parts) > 1 and _is_form(parts[0]) else Form.SERVED
        view = View(parts.pop(0)) if len(parts) > 1 and parts[0] in _VIEWS else View.ANSWER
        allowed = measures(view)
        if not SUITE_NAME.fullmatch(suite) or len(parts) != 1 or parts[0] not in allowed:
            raise ValueError(
                f"unknown metric {name!r}; a name is SUITE[.FORM][.VIEW].MEASURE with a FORM of "
                f"{', '.join((*_FORMS, *sorted(added_parts('attacks'))))}, a VIEW of "
                f"{', '.join(_VIEWS)} and, here, a MEASURE of {', '.join(allowed)}"
            )
        return cls(suite=suite, measure=parts[0], form=form, view=view)

    @property
    def unparsed(self) -> Metric | None:
        """The metric of the verdicts behind this one that could not be read; None where it rests on
        no verdicts."""
        rests = self.measure in tuple(Outcome)
        return replace(self, measure=str(Outcome.UNPARSED)) if rests else None

    @property
    def of_verdicts(self) -> bool:
        """Whether it is what judges say that completions do, and may be corrected for the judge."""
        return self.measure in tuple(Outcome) and self.measure != Outcome.UNPARSED

    @property
    def order(self) -> tuple[tuple[int, str], tuple[int, str], int, int]:
        """A key that sorts metrics as people read them: by role, form, part and measure."""
        return (
            _place(self.suite, Role),
            _place(self.form, Form),
            list(View).index(self.view),
            measures(self.view).index(self.measure),
        )


_FORMS = tuple(form.value for form in Form if form is not Form.SERVED)
_VIEWS = tuple(view.value for view in View if view is not View.ANSWER)


def _is_form(name: str) -> bool:
    """Return whether a part of a metric's name is a form; those of other packages are asked last,
    since they are looked up."""
    return name in _FORMS or (name not in _VIEWS and name in added_parts("attacks"))


def _place(name: str, known: Iterable[str]) -> tuple[int, str]:
    """Return a key that sorts by place among the known names, unknown ones behind by name."""
    names = [str(one) for one in known]
    return names.index(name) if name in names else len(names), name


def measures(view: View) -> tuple[str, ...]:
    """Return what is measured in one part of the completions."""
    parts = _OF_ANSWERS if view is View.ANSWER else tuple(Outcome)
    return tuple(str(part) for part in parts)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of metrics in the order in which people read them."""
    return sorted(names, key=lambda name: Metric.parse(name).order)


# In what arms are compared on the same prompts, by the role of the suite.
_COMPARED = {
    Role.HARMFUL: ("refused", "complied", "either.complied"),
    Role.BORDERLINE: ("refused", "complied"),
    Role.BENIGN: ("refused", "complied"),
    Role.REASONING: (CORRECT,),
}


def is_compared(name: str, role: Role | None = None) -> bool:
    """Return whether arms are compared in a metric of a suite of this role; None: of any role."""
    metric = Metric.parse(name)
    without_suite = str(Metric("x", metric.measure, view=metric.view)).removeprefix("x.")
    roles = _COMPARED if role is None else (role,)
    return any(without_suite in _COMPARED[known] for known in roles)
