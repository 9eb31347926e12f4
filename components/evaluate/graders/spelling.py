"""One spelling for many: characters of other scripts, and LaTeX that only changes the look.

`fold` is for whatever a model writes, `tidy` for what is stated as a result. Neither changes what a
number or an expression is.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from components.core.documents import read_yaml

_TABLE = read_yaml(Path(__file__).with_suffix(".yaml"))
_CHARACTERS = {old: new for new, several in _TABLE["characters"].items() for old in several}
_SYMBOLS: dict[str, str] = _TABLE["symbols"]
_SYMBOL = re.compile("|".join(map(re.escape, _SYMBOLS)))
_SPELLINGS = [(re.compile(pattern), spelling) for pattern, spelling in _TABLE["latex"]]
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", "0123456789+-=()", strict=True))
_SUPERSCRIPT = re.compile(f"[{''.join(_RAISED)}]+")
_SUBSCRIPT = re.compile(f"[{''.join(_LOWERED)}]+")
_PLAIN = re.compile(r"[\x20-\x7e\n\t]*")
_FRACTION = re.compile(r"(\d{0,9})\s?([¼-¾⅐-⅞↉])")
# `\text{and}` and `and` part the elements of a list, as a comma does.
_AND = re.compile(
    r",?\s*(?:\\text\{\s*,?\s*(and|or|und|oder)\s*\}|(?<![A-Za-z\\{])(and|or|und|oder)(?![A-Za-z}]))\s*"
)
_ALL_TEXT = re.compile(r"\\text\{([^{}\\]* (?:and|or) [^{}\\]*)\}")
_EMPHASIS = "*_`\"' \t\n"
_LOOK = re.compile(
    r"\\(?:textcolor|colorbox)\s*\{[^{}]*\}|\\color\s*\{[^{}]*\}|\\underline(?![A-Za-z])"
    r"|\\(?:tiny|small|large|Large|LARGE|huge|Huge|rm|bf|it|textstyle|scriptstyle)(?![A-Za-z])"
    r"|\\(?:checkmark|middle|nobreak)(?![A-Za-z])|\\+$"
)
_ROWS = re.compile(
    r"\\begin\{(aligned|align\*?|alignat\*?|split|gathered|gather\*?|array|cases)\}"
    r"(?:\{[lcr]\})?(.*)\\end\{\1\}",
    re.DOTALL,
)
_GRID = re.compile(r"\(\s*\\begin\{array\}\{[lcr|\s]*\}(.*)\\end\{array\}\s*\)", re.DOTALL)
_AT_A_SIGN = re.compile(r"&\s*(?=[=<>]|\\(?:le|ge|approx)(?![A-Za-z]))|\A\s*&|&\s*\Z")
_NEW_LINE = re.compile(r"\\newline(?![A-Za-z])|\\\\\[[\w.]+\]")
_GOES_ON = re.compile(r"\s*(?:[=<>+]|\\(?:le|ge|approx)(?![A-Za-z]))")


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
    # Full-width letters and signs, letters in circles, and those of mathematical alphabets.
    if (
        "⒜" <= character <= "ⓩ"
        or "\uff01" <= character <= "\uffee"
        or "\U0001d400" <= character <= "\U0001d7ff"
    ):
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
    text = _laid_out(text)
    if (words := _ALL_TEXT.fullmatch(text)) is not None:
        text = words[1]
    text = _AND.sub(
        lambda match: " \\or " if {"or", "oder"} & {match[1], match[2]} else " , ", text
    )
    return text.strip(_EMPHASIS)


def _laid_out(latex: str) -> str:
    """Return LaTeX without what only changes its look; the rows of aligned equations become one
    chain, or a list. What has several columns of its own stays as it is."""
    latex = _LOOK.sub(" ", latex).strip()
    latex = _GRID.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", latex)
    latex = _NEW_LINE.sub(r"\\\\", latex)
    found = _ROWS.fullmatch(latex)
    if found is None and ("\\\\" not in latex or "\\begin" in latex):
        return latex
    inner = found[2] if found else latex
    rows = [_AT_A_SIGN.sub("", row).strip() for row in inner.split("\\\\") if row.strip()]
    if not rows or any("&" in row for row in rows):
        return latex
    whole = rows[0]
    for row in rows[1:]:
        whole = f"{whole.rstrip(' ,')} {row}" if _GOES_ON.match(row) else f"{whole} , {row}"
    return whole
