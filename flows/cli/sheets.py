"""Wide tables on a terminal: as many sheets as its width asks for, each with the first columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.table import Table

from components.report.studies import RateCell, StudyTable, common_size
from flows.cli.terminal import wide_console

_WIDEST = 16  # characters of a cell that is no rate, and of a head
_BETWEEN = 3  # of columns
_LOG = 200  # characters of a line where nobody's terminal ends it

Column = list[str]  # the head, then the cells, each with its lines


def print_table(table: StudyTable) -> None:
    """Print a table, if it has rows, and its notes."""
    console = wide_console(_LOG)
    for sheet in sheets(table, console.width) if table.rows else ():
        console.print(sheet)
    for note in table.notes:
        console.print(note, soft_wrap=not console.is_terminal)


def sheets(table: StudyTable, width: int) -> Iterator[Table]:
    """Yield the table in sheets of at most `width` characters, and at least one column each."""
    columns = [
        _column(head, [row[number] for row in table.rows])
        for number, head in enumerate(table.heads)
    ]
    keys, others = columns[: table.keys], columns[table.keys :]
    room = width - 1 - sum(map(_width, keys))
    taken: list[Column] = []
    for column in others:
        if taken and sum(map(_width, [*taken, column])) > room:
            yield _sheet([*keys, *taken])
            taken = []
        taken.append(column)
    yield _sheet([*keys, *taken])


def _column(head: str, cells: Sequence[str | RateCell]) -> Column:
    """Return a column's lines; n stands in the head where it is the same in all cells."""
    if size := common_size(cells):
        head = f"{head}, n={size}"
    return [_folded(head), *(_lines(cell, sized=bool(size)) for cell in cells)]


def _lines(cell: str | RateCell, *, sized: bool) -> str:
    if isinstance(cell, str):
        return _folded(cell)
    share, interval, *others = cell.lines(sized=sized)
    return "\n".join([share, interval, *map(_folded, others)])


def _folded(text: str) -> str:
    return textwrap.fill(text, _WIDEST, break_long_words=False, break_on_hyphens=False)


def _width(column: Column) -> int:
    return _BETWEEN + max(len(line) for cell in column for line in cell.split("\n"))


def _sheet(columns: Sequence[Column]) -> Table:
    table = Table()
    for head, *_ in columns:
        table.add_column(head, no_wrap=True)
    for cells in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*cells)
    return table
