"""One reading of an input file, line by line, with what is known of the lines before."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from batch.custom_ids import CustomIds
from batch.input_file import InputFile
from batch.json_line import JsonObject
from batch.line import Line, count_inputs, parse_line
from batch.line_error import LineError
from batch.line_index import LineIndex
from batch.mistakes import Mistakes
from batch.quick_look import QuickLook
from batch.rules import EMBEDDINGS, Rules
from batch.splitting import LineSplitter, RawLine, WholeLines, raw_line


class Examination:
    """Reads a file once. `run` does it; the attributes say what was found.

    `rules` are the batch's: the first good line settles a model and an endpoint that were left
    open. `sha256` is empty if reading was given up.
    """

    def __init__(self, file: InputFile, rules: Rules) -> None:
        self.rules = rules
        self.mistakes = Mistakes()
        self.index = LineIndex()
        self.inputs = 0
        self.sha256 = ""
        self._file = file
        self._ids = CustomIds(file, self.index)
        self._quick = QuickLook(rules)
        #: Blank lines, which are mistakes only if another line follows.
        self._blank: list[RawLine] = []

    @property
    def total(self) -> int:
        """How many lines there were, up to the last one that is not blank."""
        return len(self.index)

    def run(self) -> None:
        """Read the file. `InputRefused` if it is not what it was when it was opened."""
        try:
            self.sha256 = self._read()
        except _TooManyLines as error:
            message = f"the input has more than {self.rules.most_lines} lines"
            self._refuse("too_many_lines", message, error.line)
        if not self.total and not self.mistakes.count:
            self._refuse("empty_file", "the input has no lines")

    def _read(self) -> str:
        digest = hashlib.sha256()
        splitter = LineSplitter(self.rules.most_line_bytes)
        for block in self._file.blocks():
            digest.update(block)
            for found in splitter.feed(block):
                if isinstance(found, WholeLines):
                    self._take_all(found)
                else:
                    self._take(found)
        for last in splitter.finish():
            self._take(last)
        return digest.hexdigest()

    def _take_all(self, lines: WholeLines) -> None:
        """Take many lines: those that are good beyond doubt the quick way."""
        contents = lines.contents()
        offset = lines.offset
        room = lines.number + len(contents) - 1 <= self.rules.most_lines
        trusted = room and self._quick.trusts(lines, contents)
        may_name = self._quick.may_name(lines.data)
        for number, content in enumerate(contents, lines.number):
            quick = trusted or (room and self._quick.trusts_line(content))
            values = self._quick.values(content, may_name=may_name) if quick else None
            if values is None or self._blank or not self._ids.new(values["custom_id"], number):
                self._take(raw_line(number, offset, content))
            else:
                self.index.add(offset, len(content) - content.endswith(b"\r"))
                self._count_inputs(values["body"], number)
            offset += len(content) + 1

    def _take(self, raw: RawLine) -> None:
        """Take a line of which nothing is known yet."""
        blank = raw.length == len(raw.content) and not raw.content.strip(b" \t\r")
        if blank and raw.number <= self.rules.most_lines:
            self._blank.append(raw)
        if blank:
            return
        if raw.number > self.rules.most_lines:
            raise _TooManyLines(raw.number)
        self._refuse_blank()
        self.index.add(raw.offset, raw.length)
        parsed = parse_line(raw, self.rules)
        if isinstance(parsed, Line):
            self._take_good(parsed)
        else:
            self.mistakes.add(parsed)

    def _refuse_blank(self) -> None:
        for raw in self._blank:
            self.index.add(raw.offset, raw.length)
            self._refuse("empty_line", "the line is empty", raw.number)
        self._blank.clear()

    def _take_good(self, line: Line) -> None:
        """Hold a line that is good by itself against those before it."""
        if None in {self.rules.model, self.rules.endpoint}:
            self.rules = replace(self.rules, model=line.model, endpoint=line.url)
            self._quick = QuickLook(self.rules)
        first = self._ids.first_with(line.custom_id, line.number)
        if first != line.number:
            message = f"custom_id {line.custom_id[:80]!r} is that of line {first}, too"
            self._refuse("duplicate_custom_id", message, line.number, "custom_id")
        self._count_inputs(line.body, line.number)

    def _count_inputs(self, body: JsonObject, number: int) -> None:
        if self.rules.endpoint != EMBEDDINGS:
            return
        before, most = self.inputs, self.rules.inputs
        self.inputs += count_inputs(body)
        if before <= most < self.inputs:
            message = f"with this line there are more than {most} embedding inputs in all"
            self._refuse("too_many_inputs", message, number, "body.input")

    def _refuse(self, code: str, message: str, line: int | None = None, param: str = "") -> None:
        self.mistakes.add([LineError(code=code, message=message, line=line, param=param or None)])


class _TooManyLines(Exception):
    """No line after this one is looked at."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line
