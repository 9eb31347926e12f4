"""The situations of the everyday word problems: texts with gaps, and what their steps find out.

Training and test share neither situations nor wording.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.records import Split


@dataclass(frozen=True, slots=True)
class Situation:
    """A word problem with gaps. `operations` has one sign a step; `steps` names each result."""

    topic: str
    split: Split
    operations: str  # such as "+-": add the second number, subtract the third
    text: str
    steps: tuple[str, ...]


def _train(topic: str, operations: str, text: str, *steps: str) -> Situation:
    return Situation(topic, Split.TRAIN, operations, text, steps)


def _test(topic: str, operations: str, text: str, *steps: str) -> Situation:
    return Situation(topic, Split.TEST, operations, text, steps)


SITUATIONS = (
    _train(
        "orchard",
        "+",
        "{name} picks {a} apples before lunch and {b} after it. "
        "How many apples did {name} pick that day?",
        "Apples",
    ),
    _train(
        "library",
        "-",
        "A shelf holds {a} books. Visitors borrow {b} of them. How many stay on the shelf?",
        "Books left",
    ),
    _train(
        "pencils",
        "*",
        "There are {a} boxes with {b} pencils in each. How many pencils is that altogether?",
        "Pencils",
    ),
    _train(
        "bus",
        "+-",
        "A bus carries {a} people. {b} get on at the market, then {c} get off at the school. "
        "How many people ride on?",
        "After the market",
        "After the school",
    ),
    _train(
        "savings",
        "+-",
        "{name} has {a} dollars, earns {b} dollars for mowing a lawn and spends {c} dollars on a "
        "game. How much money is left?",
        "After mowing",
        "After the game",
    ),
    _train(
        "cookies",
        "*+",
        "{name} bakes {a} trays of {b} cookies and finds {c} more in a jar. "
        "How many cookies are there?",
        "Baked",
        "With the jar",
    ),
    _train(
        "eggs",
        "*-",
        "A farmer fills {a} cartons with {b} eggs each, and then {c} eggs break. "
        "How many eggs are whole?",
        "Eggs packed",
        "Eggs whole",
    ),
    _train(
        "stickers",
        "--",
        "{name} owns {a} stickers, gives {b} to a sister and {c} to a friend. "
        "How many stickers does {name} keep?",
        "After the sister",
        "After the friend",
    ),
    _train(
        "rain",
        "++",
        "It rained {a} millimetres on Monday, {b} on Tuesday and {c} on Wednesday. "
        "How much did it rain in the three days?",
        "By Tuesday",
        "By Wednesday",
    ),
    _train(
        "class",
        "+",
        "One class has {a} children and the class next door has {b}. "
        "How many children are in both?",
        "Children",
    ),
    _train(
        "ribbon",
        "-",
        "{name} cuts {b} centimetres from a ribbon of {a} centimetres. How long is the rest?",
        "The rest",
    ),
    _train(
        "tickets",
        "*",
        "A ticket for the zoo costs {b} dollars. What do {a} tickets cost?",
        "Cost",
    ),
    _train(
        "marbles",
        "-+",
        "{name} starts a game with {a} marbles, loses {b} and then wins {c}. "
        "How many marbles does {name} end with?",
        "After losing",
        "After winning",
    ),
    _train(
        "chairs",
        "*+",
        "In a hall stand {a} rows of {b} chairs, and {c} chairs stand along the wall. "
        "How many chairs are in the hall?",
        "In rows",
        "With the wall",
    ),
    _train(
        "water",
        "-",
        "A tank held {a} litres. The garden took {b} litres of it. "
        "How many litres does the tank hold now?",
        "Litres left",
    ),
    _train(
        "wages",
        "*+",
        "{name} works {a} hours for {b} dollars an hour and gets a tip of {c} dollars. "
        "How much does {name} take home?",
        "Pay",
        "With the tip",
    ),
    _train(
        "birds",
        "+-",
        "On a roof sit {a} birds. {b} land beside them, and a cat scares {c} away. "
        "How many birds still sit there?",
        "After landing",
        "After the cat",
    ),
    _train(
        "flour",
        "*-",
        "A baker buys {a} bags of {b} kilograms of flour and uses {c} kilograms. "
        "How many kilograms remain?",
        "Bought",
        "Remaining",
    ),
    _train(
        "steps",
        "+",
        "{name} climbs {a} steps to the first floor and {b} steps to the second. "
        "How many steps does {name} climb?",
        "Steps",
    ),
    _train(
        "cards",
        "*",
        "Every one of {a} players receives {b} cards. How many cards are dealt?",
        "Cards",
    ),
    _test(
        "parking",
        "+-",
        "At noon {a} cars are parked by the lake. During the afternoon {b} arrive while {c} leave. "
        "What is the number of cars in the evening?",
        "Arrived",
        "In the evening",
    ),
    _test(
        "flowers",
        "*",
        "{name} ties {a} bunches, using {b} roses for each bunch. How many roses are used?",
        "Roses",
    ),
    _test(
        "race",
        "+",
        "In the race {name} ran {a} kilometres, rested, and ran another {b}. "
        "What distance did {name} cover?",
        "Distance",
    ),
    _test(
        "balloons",
        "--",
        "For a party {name} blew up {a} balloons. {b} of these burst and {c} flew off. "
        "How many balloons were left for the guests?",
        "After bursting",
        "Left",
    ),
    _test(
        "tiles",
        "*+",
        "A floor needs {a} lines of {b} tiles, plus {c} spare tiles. "
        "How many tiles should {name} order?",
        "Tiles in lines",
        "With spares",
    ),
    _test(
        "pages",
        "-",
        "{name} is reading a story of {a} pages and has reached page {b}. "
        "How many pages are still unread?",
        "Unread",
    ),
    _test(
        "bakery",
        "*-",
        "Early in the day a bakery puts out {a} baskets holding {b} rolls apiece. By ten o'clock "
        "{c} rolls are sold. How many rolls are unsold?",
        "Rolls put out",
        "Unsold",
    ),
    _test(
        "train",
        "-+",
        "{a} passengers left the harbour by train. In the valley {b} went out and {c} came in. "
        "How many passengers reached the mountain?",
        "After going out",
        "After coming in",
    ),
    _test(
        "coins",
        "++",
        "{name} found {a} coins in a drawer, {b} under the sofa and {c} in an old coat. "
        "How many coins were found?",
        "With the sofa",
        "With the coat",
    ),
    _test(
        "fish",
        "+",
        "In one pond swim {a} fish, in another {b}. What is the number of fish in the two ponds?",
        "Fish",
    ),
)
