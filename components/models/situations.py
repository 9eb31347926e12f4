"""The situations of the everyday word problems: texts with gaps, and the signs of their steps.

Training, validation and test share neither situations nor wording.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.core.vocabulary import Split


@dataclass(frozen=True, slots=True)
class Situation:
    """A word problem with gaps; `operations` has one sign a step."""

    topic: str
    split: Split
    operations: str  # such as "+-": add the second number, subtract the third
    text: str


def _train(topic: str, operations: str, text: str) -> Situation:
    return Situation(topic, Split.TRAIN, operations, text)


def _validation(topic: str, operations: str, text: str) -> Situation:
    return Situation(topic, Split.VALIDATION, operations, text)


def _test(topic: str, operations: str, text: str) -> Situation:
    return Situation(topic, Split.TEST, operations, text)


SITUATIONS = (
    _train(
        "orchard",
        "+",
        "{name} picks {a} apples before lunch and {b} after it. "
        "How many apples did {name} pick that day?",
    ),
    _train(
        "library",
        "-",
        "A shelf holds {a} books. Visitors borrow {b} of them. How many stay on the shelf?",
    ),
    _train(
        "pencils",
        "*",
        "There are {a} boxes with {b} pencils in each. How many pencils is that altogether?",
    ),
    _train(
        "bus",
        "+-",
        "A bus carries {a} people. {b} get on at the market, then {c} get off at the school. "
        "How many people ride on?",
    ),
    _train(
        "savings",
        "+-",
        "{name} has {a} dollars, earns {b} dollars for mowing a lawn and spends {c} dollars on a "
        "game. How much money is left?",
    ),
    _train(
        "cookies",
        "*+",
        "{name} bakes {a} trays of {b} cookies and finds {c} more in a jar. "
        "How many cookies are there?",
    ),
    _train(
        "eggs",
        "*-",
        "A farmer fills {a} cartons with {b} eggs each, and then {c} eggs break. "
        "How many eggs are whole?",
    ),
    _train(
        "stickers",
        "--",
        "{name} owns {a} stickers, gives {b} to a sister and {c} to a friend. "
        "How many stickers does {name} keep?",
    ),
    _train(
        "rain",
        "++",
        "It rained {a} millimetres on Monday, {b} on Tuesday and {c} on Wednesday. "
        "How much did it rain in the three days?",
    ),
    _validation(
        "class",
        "+",
        "One class has {a} children and the class next door has {b}. "
        "How many children are in both?",
    ),
    _validation(
        "ribbon",
        "-",
        "{name} cuts {b} centimetres from a ribbon of {a} centimetres. How long is the rest?",
    ),
    _train(
        "tickets",
        "*",
        "A ticket for the zoo costs {b} dollars. What do {a} tickets cost?",
    ),
    _train(
        "marbles",
        "-+",
        "{name} starts a game with {a} marbles, loses {b} and then wins {c}. "
        "How many marbles does {name} end with?",
    ),
    _train(
        "chairs",
        "*+",
        "In a hall stand {a} rows of {b} chairs, and {c} chairs stand along the wall. "
        "How many chairs are in the hall?",
    ),
    _train(
        "water",
        "-",
        "A tank held {a} litres. The garden took {b} litres of it. "
        "How many litres does the tank hold now?",
    ),
    _train(
        "wages",
        "*+",
        "{name} works {a} hours for {b} dollars an hour and gets a tip of {c} dollars. "
        "How much does {name} take home?",
    ),
    _validation(
        "birds",
        "+-",
        "On a roof sit {a} birds. {b} land beside them, and a cat scares {c} away. "
        "How many birds still sit there?",
    ),
    _train(
        "flour",
        "*-",
        "A baker buys {a} bags of {b} kilograms of flour and uses {c} kilograms. "
        "How many kilograms remain?",
    ),
    _train(
        "steps",
        "+",
        "{name} climbs {a} steps to the first floor and {b} steps to the second. "
        "How many steps does {name} climb?",
    ),
    _validation(
        "cards",
        "*",
        "Every one of {a} players receives {b} cards. How many cards are dealt?",
    ),
    _test(
        "parking",
        "+-",
        "At noon {a} cars are parked by the lake. During the afternoon {b} arrive while {c} leave. "
        "What is the number of cars in the evening?",
    ),
    _test(
        "flowers",
        "*",
        "{name} ties {a} bunches, using {b} roses for each bunch. How many roses are used?",
    ),
    _test(
        "race",
        "+",
        "In the race {name} ran {a} kilometres, rested, and ran another {b}. "
        "What distance did {name} cover?",
    ),
    _test(
        "balloons",
        "--",
        "For a party {name} blew up {a} balloons. {b} of these burst and {c} flew off. "
        "How many balloons were left for the guests?",
    ),
    _test(
        "tiles",
        "*+",
        "A floor needs {a} lines of {b} tiles, plus {c} spare tiles. "
        "How many tiles should {name} order?",
    ),
    _test(
        "pages",
        "-",
        "{name} is reading a story of {a} pages and has reached page {b}. "
        "How many pages are still unread?",
    ),
    _test(
        "bakery",
        "*-",
        "Early in the day a bakery puts out {a} baskets holding {b} rolls apiece. By ten o'clock "
        "{c} rolls are sold. How many rolls are unsold?",
    ),
    _test(
        "train",
        "-+",
        "{a} passengers left the harbour by train. In the valley {b} went out and {c} came in. "
        "How many passengers reached the mountain?",
    ),
    _test(
        "coins",
        "++",
        "{name} found {a} coins in a drawer, {b} under the sofa and {c} in an old coat. "
        "How many coins were found?",
    ),
    _test(
        "fish",
        "+",
        "In one pond swim {a} fish, in another {b}. What is the number of fish in the two ponds?",
    ),
)
