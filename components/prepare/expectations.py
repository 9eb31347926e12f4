"""What is expected of single rows and of the whole table, as Great Expectations.

Only built-in expectations are used: a custom class that is not imported is dropped silently. What
they cannot compute (unreadable characters, overlap, straddling topics) is a column made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.row_conditions import Column

from components.core.vocabulary import Prompt, Role, Split
from components.prepare.leaks import HeldOut
from components.prepare.settings import LICENCES
from components.prepare.sources import Candidate
from components.prepare.text import as_seen, unreadable_characters

# The splits a demanded role must fill: directions and the teacher's check need harmful and benign
# prompts, look-alikes are there for evaluation, and reasoning is retained and evaluated.
NEEDED = {
    Role.HARMFUL: tuple(Split),
    Role.BENIGN: tuple(Split),
    Role.BORDERLINE: (Split.TEST,),
    Role.REASONING: (Split.TRAIN, Split.TEST),
}
# Columns beside those of a prompt. `row` is its place in the source.
ROW = "row"
UNREADABLE = "unreadable_characters"
REPEATS = "earlier_rows_of_same_id"
CONTRADICTIONS = "rows_of_other_role"
LEAKS = "overlaps_with_test"
SPLITS_OF_TOPIC = "splits_of_topic"


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation, what a violation means, and what to do about it."""

    expectation: gxe.Expectation
    reason: str
    remedy: str


def row_frame(rows: Sequence[Candidate]) -> pd.DataFrame:
    """Return the rows as a table, with the count of each text's unreadable characters."""
    names = [field.name for field in fields(Candidate)]
    frame = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in names})
    frame[UNREADABLE] = [unreadable_characters(row.text) for row in rows]
    return frame


def repetition_frame(rows: Sequence[Candidate]) -> pd.DataFrame:
    """Return the rows with counts of earlier rows of their id and of rows that contradict them.

    Rows of a source that is fixed as test repeat only one another: what others share with them is
    a leak, and a leak costs the training row, never the test row.
    """
    frame = row_frame(rows)
    held_out = frame["split"] == Split.TEST
    frame[REPEATS] = frame.groupby([held_out, "id"]).cumcount()
    harmful = frame["role"] == Role.HARMFUL
    of_text = harmful.groupby([held_out, frame["text"].map(as_seen)])
    count, harmful_count = of_text.transform("count"), of_text.transform("sum")
    frame[CONTRADICTIONS] = (count - harmful_count).where(harmful, harmful_count)
    return frame


def table_frame(rows: Sequence[Candidate], automatic: Sequence[bool], ngram: int) -> pd.DataFrame:
    """Return the split rows with their overlap with the test split and their topic's splits.

    The topics of rows that were not split automatically count as lying in no split.
    """
    frame = row_frame(rows)
    test = frame["split"] == Split.TEST
    leaks = HeldOut(list(frame["text"][test]), ngram=ngram).find(
        [row for row in rows if row.split != Split.TEST]
    )
    frame[LEAKS] = 0
    frame.loc[~test, LEAKS] = leaks.astype(int)
    moved = frame[pd.Series(automatic, index=frame.index, dtype=bool)]
    frame[SPLITS_OF_TOPIC] = 0
    frame.loc[moved.index, SPLITS_OF_TOPIC] = moved.groupby("topic")["split"].transform("nunique")
    return frame


def checks_of_rows(max_characters: int) -> list[Check]:
    """Return what every row must meet by itself."""
    return [
        Check(
            gxe.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1),
            "empty text",
            "fill the text, or mend `columns` and `patterns`",
        ),
        Check(
            gxe.ExpectColumnValueLengthsToBeBetween(column="text", max_value=max_characters),
            f"longer than {max_characters} characters",
            "shorten it or raise prepare.max_characters",
        ),
        Check(
            _at_most(0, UNREADABLE, "no control characters and none that could not be decoded"),
            "control or undecodable characters",
            "save the source as UTF-8 and remove them",
        ),
        Check(
            gxe.ExpectColumnValuesToBeInSet(column="role", value_set=list(Role)),
            f"role is none of {', '.join(Role)}",
            "mend the column `role`, or set `role` in the source",
        ),
        Check(
            gxe.ExpectColumnValuesToMatchRegex(
                column="licence",
                regex=LICENCES,
                description="a known SPDX identifier, or LicenseRef and a name",
            ),
            "blank or unknown licence",
            "give an SPDX identifier of components/prepare/settings.py, or LicenseRef-<name>",
        ),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(
                column="answer", row_condition=Column("role") == Role.REASONING.value
            ),
            "reasoning without a reference answer",
            "map `answer`, or mend its pattern",
        ),
    ]


def checks_of_repetition() -> list[Check]:
    """Return what rows must meet beside each other."""
    return [
        Check(
            _at_most(0, CONTRADICTIONS, "no text is both harmful and not harmful"),
            "the same text is harmful and not harmful",
            "decide on its role and remove the other row",
        ),
        Check(_at_most(0, REPEATS, "no id came before"), "duplicate id", "remove the repeated row"),
    ]


def checks_of_table(
    max_characters: int, *, min_rows: Mapping[Role, int], min_share: float
) -> list[Check]:
    """Return what a prepared table must meet, with at least so many rows of the roles named."""
    return [
        *checks_of_rows(max_characters),
        *_checks_of_schema(),
        Check(
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(Split)),
            f"split is none of {', '.join(Split)}",
            "mend `split` of the source",
        ),
        Check(
            _at_most(0, LEAKS, "no training or validation row shares a run of words with test"),
            "training or validation rows that repeat test rows",
            "remove them, or raise prepare.overlap_ngram",
        ),
        Check(
            _at_most(1, SPLITS_OF_TOPIC, "no topic of automatic sources lies in two splits"),
            "topics that straddle splits",
            "give these rows one topic column and `split: auto`",
        ),
        *(_enough(role, split, n) for role, n in min_rows.items() for split in NEEDED[role]),
        *(_share(role, min_share) for role in min_rows if Split.TRAIN in NEEDED[role]),
    ]


def _checks_of_schema() -> list[Check]:
    # Clusters are found in the table that has passed.
    own = [field.name for field in fields(Prompt) if field.name != "cluster"]
    columns = [*own, ROW, UNREADABLE, LEAKS, SPLITS_OF_TOPIC]
    return [
        Check(
            gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True),
            "columns differ from those of a prompt",
            "keep vocabulary.Prompt and prepare/sources.py in step",
        ),
        Check(
            gxe.ExpectColumnValuesToBeUnique(column="id"),
            "ids are not unique",
            "remove repeated rows",
        ),
        Check(
            gxe.ExpectColumnValuesToMatchRegex(column="id", regex="^[0-9a-f]{16}$"),
            "ids are not 16 hex digits",
            "take ids from prepare/text.py",
        ),
        *(
            Check(
                gxe.ExpectColumnValuesToNotBeNull(column=column),
                f"blank {column}",
                f"fill the column `{column}`",
            )
            for column in ("text", "topic", "source", "licence")
        ),
    ]


def _at_most(limit: int, column: str, description: str) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, max_value=limit, description=description
    )


def _enough(role: Role, split: Split, rows: int) -> Check:
    return Check(
        gxe.ExpectTableRowCountToBeBetween(
            min_value=rows,
            row_condition=(Column("role") == role.value) & (Column("split") == split.value),
            description=f"{role} in {split}: at least {rows} rows",
        ),
        f"fewer than {rows} {role} rows in {split}",
        f"add {role} rows or topics, change the shares, or lower prepare.min_rows.{role}",
    )


def _share(role: Role, share: float) -> Check:
    return Check(
        gxe.ExpectColumnValuesToBeInSet(
            column="role",
            value_set=[role.value],
            mostly=share,
            row_condition=Column("split") == Split.TRAIN.value,
            description=f"{role}: at least {share:.1%} of training rows (unexpected: other roles)",
        ),
        f"fewer than {share:.1%} of the training rows are {role}",
        "set `limit` on the larger sources, or lower prepare.min_share",
    )
