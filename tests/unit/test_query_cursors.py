"""Cursors: what was written is read, by the same question and key only, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.query.cursors import CursorError, Position, read, write
from jobtide.query.selection import Selection, scope

parts = st.lists(st.one_of(st.text(max_size=30), st.integers(-(2**62), 2**62)), max_size=7).map(tuple)
times = st.integers(0, 2**52)
positions = st.builds(Position, parts, times, times)
KEY = b"k" * 32


@given(positions, st.text(max_size=40), st.binary(min_size=1, max_size=64))
def test_what_is_written_is_read(position: Position, scope: str, key: bytes) -> None:
    text = write(position, scope, key)
    assert text.isascii()
    assert read(text, scope, key) == position


@given(positions, st.text(max_size=20), st.text(max_size=20))
def test_another_question_cannot_use_it(position: Position, scope: str, other: str) -> None:
    if scope != other:
        with pytest.raises(CursorError):
            read(write(position, scope, KEY), other, KEY)


@given(positions)
def test_another_key_cannot_read_it(position: Position) -> None:
    with pytest.raises(CursorError):
        read(write(position, "s", KEY), "s", b"j" * 32)


@given(positions, st.data())
def test_any_changed_character_is_noticed(position: Position, data: st.DataObject) -> None:
    text = write(position, "s", KEY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda c: c != text[at]))
    with pytest.raises(CursorError):
        read(text[:at] + other + text[at + 1 :], "s", KEY)


@given(st.text(max_size=200))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(CursorError):
        read(text, "s", KEY)


def test_scopes_differ_by_question_and_by_every_filter() -> None:
    selections = [Selection(), Selection(tenant="a"), Selection(queue="a"), Selection(tenant="a", queue="b")]
    scopes = [scope("jobs", s) for s in selections]
    scopes += [
        scope("queues", Selection()),
        scope("jobs", Selection(), "1h"),
        scope("jobs", Selection(), None),
    ]
    assert len(set(scopes)) == len(scopes)
