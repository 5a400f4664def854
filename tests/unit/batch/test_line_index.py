"""An index of lines that were taken together is that of lines that were noted one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batch.line_index import LineIndex
from batch.splitting import LineSplitter, WholeLines

LINES = st.lists(st.sampled_from([b"", b"\r", b"{}", b'{"a": 1}\r', b"\xef\xbb\xbf{}", b"x" * 40]))


@given(lines=LINES, ended=st.booleans(), block=st.integers(min_value=1, max_value=50))
def test_lines_taken_together_stand_where_they_stand_one_by_one(
    lines: list[bytes], ended: bool, block: int
) -> None:
    content = b"\n".join(lines) + b"\n" * ended
    together, one_by_one = LineIndex(), LineIndex()
    splitter = LineSplitter(30)
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    found = [each for part in blocks for each in splitter.feed(part)] + list(splitter.finish())
    for each in found:
        together.take(each)
        for line in each.lines() if isinstance(each, WholeLines) else [each]:
            one_by_one.add(line.offset, line.length)
    assert together == one_by_one


def test_what_follows_the_last_line_is_forgotten() -> None:
    index = LineIndex()
    index.take(WholeLines(number=1, offset=3, data=b"{}\r\n{}\n\n"))
    index.keep(2)
    assert [index.place(number) for number in (1, 2)] == [(3, 2), (7, 2)]
    assert len(index) == 2
