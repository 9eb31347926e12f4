"""One spelling for many: characters of other scripts, and LaTeX that only changes the look.

`fold` is for whatever a model writes, `tidy` for what is stated as a result. Neither changes what a
number or an expression is.
"""

from __future__ import annotations

import re
import unicodedata

from components.evaluate.graders.layout import laid_out

# Punctuation that NFKC leaves alone. A dash that is as long as a minus is one; an em dash is not.
_CHARACTERS = {
    **dict.fromkeys("−‐‑‒–﹣－", "-"),
    **dict.fromkeys("。｡।॥۔܂።", ". "),
    **dict.fromkeys("，、､،﹐", ","),
    **dict.fromkeys("؛", ";"),
    **dict.fromkeys("“”„‟«»「」『』《》〈〉‹›", '"'),
    **dict.fromkeys("‘’‚‛ʼ", "'"),
    **dict.fromkeys("【〔〖", "["),
    **dict.fromkeys("】〕〗", "]"),
    "٫": ".",
    "٬": ",",
    "٪": "%",
    "⁄": "/",
    "∕": "/",
    "…": "...",
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", "0123456789+-=()", strict=True))
_SUPERSCRIPT = re.compile(f"[{''.join(_RAISED)}]+")
_SUBSCRIPT = re.compile(f"[{''.join(_LOWERED)}]+")
_PLAIN = re.compile(r"[\x20-\x7e\n\t]*")
_FRACTION = re.compile(r"(\d{0,9})\s?([¼-¾⅐-⅞↉])")

_SYMBOLS = {
    "×": r"\times ", "✕": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ",
    "÷": r"\div ", "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ",
    "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≃": r"\approx ",
    "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ", "∅": r"\emptyset ", "θ": r"\theta ",
    "ℝ": r"\mathbb{R}", "∨": r"\or ", "°": r"^\circ ",
}  # fmt: skip
_SYMBOL = re.compile("|".join(map(re.escape, _SYMBOLS)))
# What a command or an ASCII spelling becomes; in this order.
_SPELLINGS = [
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r"\\\$|[$€£¥₹₽₩₺₫₪฿₴₦]|\\(?:pounds|euro)(?![A-Za-z])|\\\(|\\\)|\\\[|\\\]", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|limits)(?![A-Za-z])\s*\.?", ""),
        (r"(?<=\d)\\[!,:; ](?=\d{3}(?!\d))", ","),
        (r"(?<=\d)\{,\}(?=\d{3}(?!\d))(?<!(?<!\d)0\{,\})", ","),
        (r"(?<=\d)\{,\}(?=\d)", "."),
        (r"\\[!]|\\phantom\{[^{}]*\}", ""),
        (r"(?<!\\)\\[,:; ]|~|\\q?quad(?![A-Za-z])", " "),
        (r"\\(?:d|t|c|s|nice)frac(?![A-Za-z])", r"\\frac"),
        (
            r"\\mathbb\s*R(?![A-Za-z])|\\Bbb\s*\{?R\}?|\\R(?![A-Za-z])|\\(?:mathbf|mathrm)\{R\}(?=\s*$)",
            r"\\mathbb{R}",
        ),
        (
            r"\\(?:mathrm|text|operatorname)\s*\{(ln|log|sin|cos|tan|exp|lim|gcd|max|min)\}",
            r"\\\1 ",
        ),
        (r"\\log\s*_\s*\{?\s*e\s*\}?(?![A-Za-z])", r"\\ln "),
        (r"\\(?:mathrm|text)\s*\{e\}(?=\s*\^)", "e"),
        (r"(?<=\d)\s*\\mathrm\s*\{i\}", "i"),
        (r"\\(?:text|math)[a-z]{0,6}\s*\{\s*(\w+)\s*\}(?=\s*_)", r"\1"),
        (r"\\(?:lor|vee)(?![A-Za-z])|(?<=[\d}])\s*或\s*|\s+或\s+", r" \\or "),
        (r"(?<=[\d}])\s*和\s*|\s+和\s+", " , "),
        (r"\\(?:d|t)binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:text|math)(?:rm|bf|it|sf|tt|normal|up)?\s*\{|\\(?:mbox|hbox)\s*\{", r"\\text{"),
        (r"\\text\{\s*\}", " "),
        (r"\\(?:boldsymbol|bm|pmb)\s*\{", "{"),
        (r"\\(?:leqslant|leq|leqq)(?![A-Za-z])|<=", r"\\le "),
        (r"\\(?:geqslant|geq|geqq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq(?![A-Za-z])|!=(?!=)", r"\\ne "),
        (r"\\(?:simeq|thickapprox)(?![A-Za-z])|~=|\\sim(?![A-Za-z])\s*(?=[-\d])", r"\\approx "),
        (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
        (r"\\(?:ast|bullet|centerdot)(?![A-Za-z])", r"\\cdot "),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![A-Za-z])", r"\\text{ degrees}"),
        (r"\\%", "%"),
        (r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty "),
        (r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|log|ln)(?![A-Za-z])", r"\\\1 "),
        (r"\{?\s*(\w+)\s*\\choose\s*(\w+)\s*\}?", r"\\binom{\1}{\2}"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\l?dots(?:c|b)?(?![A-Za-z])|\\cdots(?![A-Za-z])", "..."),
        (r"\\log\s*_\s*(\d)", r"\\log_{\1}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\^\s*\(([^()]*)\)", r"^{\1}"),
        (r"\^\s*(-?\d+(?:\.\d+)?)", r"^{\1}"),
        (r"\s+", " "),
    )
]
# `\text{and}` and `and` part the elements of a list, as a comma does.
_AND = re.compile(
    r",?\s*(?:\\text\{\s*,?\s*(and|or|und|oder)\s*\}|(?<![A-Za-z\\{])(and|or|und|oder)(?![A-Za-z}]))\s*"
)
_EMPHASIS = "*_`\"' \t\n"


def fold(text: str) -> str:
    """Return `text` with the digits, dashes, spaces and punctuation of all scripts as ASCII.

    Raised digits become `^{2}`, `½` becomes `1/2`, and what cannot be seen is left out.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _FRACTION.sub(_as_ratio, text)
    text = _SUPERSCRIPT.sub(lambda m: "^{" + "".join(map(_RAISED.__getitem__, m[0])) + "}", text)
    text = _SUBSCRIPT.sub(lambda m: "_{" + "".join(map(_LOWERED.__getitem__, m[0])) + "}", text)
    return "".join(map(_folded, text))


def _as_ratio(match: re.Match[str]) -> str:
    whole = f"{match[1]} " if match[1] else ""
    return whole + unicodedata.normalize("NFKC", match[2]).replace("⁄", "/")


def _folded(character: str) -> str:
    if character < "\x7f":
        return character
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Zs", "Zl", "Zp"):
        return " "
    # What cannot be seen, and check marks and emoji.
    if category in ("Cf", "Cs") or character == "\ufe0f" or (category == "So" and character > "☀"):
        return ""
    # Full-width letters and signs, and the letters of mathematical alphabets.
    if "\uff01" <= character <= "\uffee" or "\U0001d400" <= character <= "\U0001d7ff":
        return unicodedata.normalize("NFKC", character)
    return character


def tidy(text: str) -> str:
    """Return what is stated as a result in one spelling of LaTeX, without delimiters and emphasis.

    Currency signs go, as other units do.
    """
    text = fold(text).strip(_EMPHASIS)
    text = _SYMBOL.sub(lambda match: _SYMBOLS[match[0]], text)
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    text = laid_out(text)
    text = _AND.sub(
        lambda match: " \\or " if {"or", "oder"} & {match[1], match[2]} else " , ", text
    )
    return text.strip(_EMPHASIS)
