"""Whether two expressions in LaTeX are equal, exactly: read by latex2sympy, compared by sympy.

This runs in a process of its own, since no bound on what is written bounds what it takes to work
out. The limit is of processor time, so that the result does not depend on what else the machine
does. Nothing is rounded. What cannot be shown to be equal is not.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from itertools import accumulate
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from components.core.bounded_process import BoundedProcess, serve
from components.core.errors import EvidenceError

if TYPE_CHECKING:
    from sympy import Expr

log = logging.getLogger(__name__)

SECONDS = 3  # of processor time, for one comparison; an ordinary one takes hundredths
_MEMORY = 2 << 30  # bytes that it may take beside its libraries
_DIGITS = 60  # to which numbers are worked out to show that they differ
_GREATEST = {"factorial": 5_000, "Pow": 10_000, "Sum": 10_000, "Product": 10_000}
_LONGEST = 400  # characters; the parser's time grows faster than they do
_DEEPEST = 12  # brackets in brackets
_HUGE_BINOMIAL = re.compile(r"\\binom[^a-z]{0,40}\d{5}")  # is worked out as it is read
_POINTS = 3  # at which expressions in variables are compared before they are simplified

_DECIMAL = re.compile(r"(\d+)\.(\d+)|(\d+)\.(?!\d)|(?<!\d)\.(\d+)")
_MIXED = re.compile(r"(?<![\d^_{])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
# latex2sympy adds numbers that stand side by side: 2(3) would be 5.
_SIDE_BY_SIDE = re.compile(r"(?<![_^\d])(\d+)\s*(?=\(|\\frac)|(\\frac\{\d+\}\{\d+\})\s*(?=[\d(\\])")


PROCESS = BoundedProcess(__name__, SECONDS)


@lru_cache(maxsize=4096)
def equal(one: str, other: str, *, proportional: bool = False) -> bool:
    """Return whether two expressions are equal wherever both are defined.

    With `proportional` it is enough that one is the other times a number other than zero, as the
    two sides' differences of one equation are. False also for what cannot be read, or not be worked
    out within the limits. Raises `EvidenceError` where the process that compares cannot be started.
    """
    try:
        return bool(PROCESS.ask([one, other, proportional]))
    except CalledProcessError as ended:
        if ended.returncode > 0:
            raise EvidenceError(
                "the process that compares mathematical answers did not start; is "
                "latex2sympy2_extended installed? `python -c 'import latex2sympy2_extended'` tells"
            ) from ended
        log.debug("given up: %.80s = %.80s", one, other)
        return False


def main() -> None:
    """Compare what is requested until there is no more."""
    import latex2sympy2_extended.latex2sympy2  # noqa: F401 (before the first clock runs)

    serve(lambda request: _equal(*request), _MEMORY)


def _equal(one: str, other: str, proportional: bool) -> bool:
    import sympy
    from sympy.core.random import seed

    seed(0)
    try:
        left, right = _expression(one), _expression(other)
        endless = {left, right} & {sympy.oo, -sympy.oo}
        if endless or {left, right} & {sympy.zoo, sympy.nan}:
            return bool(endless) and left == right
        difference = left - right
        if difference == 0:
            return True
        if proportional:
            ratio = sympy.cancel(sympy.together(left / right))
            return not ratio.free_symbols and bool(ratio.is_nonzero)
        if not difference.free_symbols:
            return _is_zero(difference)
        if _differ_at_points(difference):
            return False
        return sympy.expand(difference) == 0 or sympy.simplify(difference) == 0
    except Exception:  # noqa: BLE001 - sympy raises whatever it likes over what was written
        return False


@lru_cache(maxsize=512)
def _expression(latex: str) -> Expr:
    """Return the expression, worked out; raises `ValueError` for what is none, or is too great."""
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    depths = accumulate((c in "([{") - (c in ")]}") for c in latex)
    if len(latex) > _LONGEST or max(depths, default=0) > _DEEPEST or _HUGE_BINOMIAL.search(latex):
        raise ValueError("too long, too deep or too great")
    latex = _MIXED.sub(r"(\1+\\frac{\2}{\3})", latex)
    latex = _SIDE_BY_SIDE.sub(lambda match: f"{match[0].rstrip()} \\cdot ", latex)
    latex = _DECIMAL.sub(_as_fraction, latex)
    config = ConversionConfig(lowercase_symbols=False)
    try:
        found: Any = latex2sympy(
            latex, is_real=True, normalization_config=None, conversion_config=config
        )
    except Exception as error:  # its parser raises bare ones
        raise ValueError(f"no expression: {latex}") from error
    if not isinstance(found, sympy.Expr):
        raise ValueError(f"no expression: {latex}")
    _check_bounds(found)
    imaginary = {symbol: sympy.I for symbol in found.free_symbols if symbol.name in ("i", "imath")}
    worked_out = found.xreplace(imaginary).doit()
    if not isinstance(worked_out, sympy.Expr) or worked_out.has(sympy.Float):
        raise ValueError(f"no exact expression: {latex}")
    return worked_out


def _as_fraction(match: re.Match[str]) -> str:
    whole, places = match[1] or match[3] or "0", match[2] or match[4] or ""
    if not places:
        return whole
    return rf"(\frac{{{int(whole + places)}}}{{{10 ** len(places)}}})"


def _check_bounds(expression: Expr) -> None:
    """Raise `ValueError` for powers, factorials and sums that would take too long to work out."""
    import sympy

    for part in sympy.preorder_traversal(expression):
        greatest = _GREATEST.get(type(part).__name__)
        if greatest is None:
            continue
        if isinstance(part, sympy.Sum | sympy.Product):
            sizes = [upper - lower for _, lower, upper in part.limits]
        elif isinstance(part, sympy.Pow):
            sizes = [part.exp] if part.exp.is_number else []
            if part.exp.has(sympy.Pow, sympy.factorial) and part.exp.is_number:
                raise ValueError("a tower of powers")
        else:
            sizes = [part.args[0]] if part.args[0].is_number else []
        for size in sizes:
            if size.has(sympy.Pow, sympy.factorial) or not abs(size) <= greatest:
                raise ValueError(f"{type(part).__name__} of {greatest} or more")


def _is_zero(number: Expr) -> bool:
    """Return whether a number without variables is shown to be zero."""
    if number.is_zero is not None:
        return bool(number.is_zero)
    value = number.evalf(_DIGITS)
    if value.is_comparable and abs(value) > 10 ** -(_DIGITS // 2):
        return False
    return number.equals(0) is True


def _differ_at_points(difference: Expr) -> bool:
    """Return whether the expression is not zero at one of a few points, the same ones always."""
    from sympy import Rational

    names = sorted(difference.free_symbols, key=lambda symbol: symbol.name)
    for point in range(_POINTS):
        values = {
            symbol: Rational(7 * place + 11 * point + 5, 3 * place + 13)
            for place, symbol in enumerate(names)
        }
        value = difference.xreplace(values).evalf(_DIGITS // 2)
        if value.is_number and value.is_finite and abs(value) > 10 ** -(_DIGITS // 4):
            return True
    return False
