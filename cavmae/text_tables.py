"""Tables and numbers for a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its cells in columns two blanks apart; a row of fewer cells than the first widens none."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def counted(count: int, thing: str) -> str:
    """Return how many of a thing there are: `1 model`, `2 models`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
