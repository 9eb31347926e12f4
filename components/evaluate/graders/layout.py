"""LaTeX that only lays a result out: colours, sizes, rows of aligned equations."""

from __future__ import annotations

import re

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
_GOES_ON = re.compile(r"\s*(?:[=<>+]|\\(?:le|ge|approx)(?![A-Za-z]))")


def laid_out(latex: str) -> str:
    """Return LaTeX without what only changes its look; the rows of aligned equations become one
    chain, or a list. What has several columns of its own stays as it is."""
    latex = _LOOK.sub(" ", latex).strip()
    latex = _GRID.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", latex)
    found = _ROWS.fullmatch(latex)
    if found is None:
        return latex
    rows = [_AT_A_SIGN.sub("", row).strip() for row in found[2].split("\\\\") if row.strip()]
    if not rows or any("&" in row for row in rows):
        return latex
    whole = rows[0]
    for row in rows[1:]:
        whole = f"{whole.rstrip(' ,')} {row}" if _GOES_ON.match(row) else f"{whole} , {row}"
    return whole
