#!/usr/bin/env python3
"""svg.py [--check]: draws the last screen of each recording in this folder as an SVG picture next to it.

A recording is an asciicast of version 2. The picture shows the whole output with the line breaks of the terminal.
`--check` writes nothing and exits with 1 if a picture differs from its recording. Uses only the standard library.
"""

import json
import pathlib
import re
import sys
from xml.sax.saxutils import escape

FOLDER = pathlib.Path(__file__).parent
CELL_WIDTH, LINE_HEIGHT, MARGIN, BAR = 8, 19, 16, 34
COLORS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}
TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """A terminal with an unlimited height: rows of cells, each a character and its style."""

    def __init__(self, width):
        self.width, self.rows, self.row, self.column, self.style = width, [[]], 0, 0, ()
        # The row of the first line of a full-screen program, and whether it has ended.
        self.top, self.is_over = 0, False

    def feed(self, text):
        for arguments, command, control, plain in TOKEN.findall(text):
            if self.is_over:
                return
            if command:
                self.command(arguments, command)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.move(self.row + 1)
            for character in plain:
                self.put(character)

    def move(self, row):
        self.row = max(row, 0)
        while len(self.rows) <= self.row:
            self.rows.append([])

    def put(self, character):
        if self.column == self.width:
            self.move(self.row + 1)
            self.column = 0
        row = self.rows[self.row]
        row.extend([(" ", ())] * (self.column + 1 - len(row)))
        row[self.column] = (character, self.style)
        self.column += 1

    def command(self, arguments, command):
        count = int(arguments) if arguments.isdigit() else 1
        if command == "A":
            self.move(self.row - count)
        elif command == "B":
            self.move(self.row + count)
        elif command == "K":
            row = self.rows[self.row]
            del row[0 if arguments == "2" else self.column :]
        elif command == "H":
            row, _, column = (arguments or "1;1").partition(";")
            self.move(self.top + int(row) - 1)
            self.column = int(column or 1) - 1
        elif command == "J":
            del self.rows[self.top:]
            self.move(self.top)
        elif (arguments, command) == ("?1049", "h"):
            # The picture shows the command above the full screen.
            self.move(self.row)
            self.top, self.column = self.row, 0
        elif (arguments, command) == ("?1049", "l"):
            # The picture shows the last full screen, not what is left afterwards.
            self.is_over = True
        elif command in "hl" and arguments.startswith("?"):
            pass
        elif command == "m":
            self.style = styled(self.style, [code or "0" for code in arguments.split(";")])
        else:
            sys.exit(f"svg.py: the recording uses the unknown escape sequence ESC[{arguments}{command}")


def styled(style, codes):
    """The style after these codes: a tuple of codes for bold, dim, and one of eight colors."""
    codes = iter(codes)
    for code in codes:
        if code == "0":
            style = ()
        elif code == "22":
            style = tuple(one for one in style if one not in ("1", "2"))
        elif code in ("38", "39") or code in COLORS:
            style = tuple(one for one in style if one not in COLORS)
            if code == "38":
                # `38;5;N`, a color of the palette: its first eight are those of `30` to `37`, and the next eight are bright.
                next(codes)
                code = f"3{int(next(codes)) % 8}"
            style += (code,) if code in COLORS else ()
        elif code in ("1", "2"):
            style += (code,)
    return style


def read(path):
    header, *events = [json.loads(line) for line in path.read_text().splitlines() if line]
    screen = Screen(header["width"])
    for _, kind, text in events:
        if kind == "o":
            screen.feed(text)
    rows = screen.rows
    while rows and not any(character.strip() for character, _ in rows[-1]):
        rows.pop()
    return header["title"], header["width"], rows


def attributes(style):
    color = next((COLORS[code] for code in style if code in COLORS), None)
    parts = [f' fill="{color}"' if color else "", ' font-weight="bold"' if "1" in style else ""]
    return "".join(parts + [' opacity="0.65"' if "2" in style else ""])


def spans(row):
    """The row as pieces of one style, each placed at its own column."""
    pieces, start = [], 0
    for column in range(1, len(row) + 1):
        if column == len(row) or row[column][1] != row[start][1]:
            text = "".join(character for character, _ in row[start:column])
            if text.strip():
                x = MARGIN + start * CELL_WIDTH
                length = len(text) * CELL_WIDTH
                pieces.append(
                    f'<tspan x="{x}" textLength="{length}"{attributes(row[start][1])}>{escape(text)}</tspan>'
                )
            start = column
    return "".join(pieces)


def picture(title, width, rows):
    wide, high = 2 * MARGIN + width * CELL_WIDTH, BAR + 2 * MARGIN + len(rows) * LINE_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{wide}" height="{high}" rx="8" fill="#0d1117"/>',
    ]
    for number, color in enumerate(["#ff5f57", "#febc2e", "#28c840"]):
        lines.append(f'<circle cx="{MARGIN + 4 + 18 * number}" cy="{BAR // 2 + 2}" r="6" fill="{color}"/>')
    lines.append('<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#e6edf3">')
    for number, row in enumerate(rows):
        y = BAR + MARGIN + number * LINE_HEIGHT + 10
        if row:
            lines.append(f'<text y="{y}" xml:space="preserve">{spans(row)}</text>')
    return "\n".join(lines + ["</g>", "</svg>", ""])


def main():
    check, outdated = sys.argv[1:] == ["--check"], []
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    for recording in sorted(FOLDER.glob("*.cast")):
        target, text = recording.with_suffix(".svg"), picture(*read(recording))
        if check and (not target.exists() or target.read_text() != text):
            outdated.append(target.name)
        elif not check:
            target.write_text(text)
    if outdated:
        sys.exit(f"outdated: {', '.join(outdated)}; run docs/recordings/svg.py")


if __name__ == "__main__":
    main()
