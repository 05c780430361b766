"""A terminal, as far as rich and readline use it: what stands on it when something was written to it."""

from __future__ import annotations

import re

_CODE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z@])|[=>78])|([^\x1b])", re.DOTALL)


def plain(raw: str) -> str:
    """The text without colours and movements of the cursor, also those to the beginning of a line that is empty."""
    return _CODE.sub(lambda found: found[3] or "", raw).replace("\n\r", "\n")


def drawn(raw: str, columns: int, rows: int) -> list[str]:
    """The lines that stand on a terminal, and those that have scrolled away, which nothing changes any more."""
    lines: list[list[str]] = [[]]
    row = column = 0
    for found in _CODE.finditer(raw):
        number = int(found[1]) if found[1] and found[1].isdecimal() else None
        count = number or 1
        match found[2] or found[3]:
            case "\r":
                column = 0
            case "\n":
                row += 1
            case "\t":
                column += 8 - column % 8
            case "\b":
                column = max(0, column - 1)
            case "D" if found[2]:
                column = max(0, column - count)
            case "A" if found[2]:
                row = max(0, row - count, len(lines) - rows)
            case "C" if found[2]:
                column += count
            case "K" if found[2]:
                del lines[row][0 if number == 2 else column :]
            case "J" if found[2]:
                del lines[row][column:]
                del lines[row + 1 :]
            case "P" if found[2]:
                del lines[row][column : column + count]
            case "@" if found[2]:
                lines[row][column:column] = [" "] * count
            case character if found[3] and character >= " ":
                if column >= columns:
                    row, column = row + 1, 0
                while len(lines) <= row:
                    lines.append([])
                lines[row] += [" "] * (column - len(lines[row]))
                lines[row][column : column + 1] = [character]
                column += 1
        while len(lines) <= row:
            lines.append([])
    return ["".join(line).rstrip() for line in lines]
