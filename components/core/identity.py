"""Who somebody is: the user that a server accepted, or no more than a name that was stated."""

from __future__ import annotations

import unicodedata

from components.core.typography import plain


def signatory(name: str, user: str) -> str:
    """Return a stated `name` with the MLflow `user` whose credentials came with it; empty: none, so
    the name is not verified.

    Round brackets behind a name are this function's word, so those in the name become square.
    """
    square = {"Ps": "[", "Pe": "]"}
    shown = "".join(square.get(unicodedata.category(sign), sign) for sign in name)
    return f"{shown} ({f'MLflow user {user}' if user else 'stated, not verified'})"


def are_two_people(one: str, other: str) -> bool:
    """Return whether two names of users are told apart, as far as their letters can show it.

    Case, white space, accents and what nobody sees tell nobody apart, nor do letters of several
    alphabets: a Cyrillic letter looks like a Latin one. That one person has two accounts is not
    seen.
    """
    first, second = ("".join(plain(name).casefold().split()) for name in (one, other))
    both = first + second
    alphabets = {_alphabet(letter) for letter in both if letter.isalpha()}
    readable = all(sign.isascii() or sign.isalnum() for sign in both)
    return "" not in (first, second) and first != second and readable and len(alphabets) < 2


def _alphabet(letter: str) -> str:
    """Return the alphabet of a letter; the Latin letters outside ASCII are one of their own."""
    return "ASCII" if letter.isascii() else unicodedata.name(letter, "none").partition(" ")[0]
