"""The contract every renderer keeps."""

from io import BytesIO
from typing import get_args

import pytest

from reports.renderers import CONTENT_TYPES, RENDERERS, Format, renderer
from reports.renderers.base import PROGRESS_EVERY_ROWS
from tests.unit.reports.tables import CASES, line, many, render, table

every_format = pytest.mark.parametrize("format", RENDERERS)


def test_every_format_has_a_renderer_and_a_content_type():
    assert set(get_args(Format)) == set(RENDERERS) == set(CONTENT_TYPES)


@every_format
@pytest.mark.parametrize("case", CASES)
def test_any_table_is_rendered_and_its_rows_counted(format, case):
    rows, count = CASES[case]
    stream = BytesIO()

    rendered = renderer(format)(table(rows), stream)

    assert rendered.rows == count
    assert stream.tell() == len(stream.getvalue()) > 0
    assert not stream.closed


@every_format
def test_the_same_table_gives_the_same_bytes(format):
    assert render(format, table()) == render(format, table())


@every_format
def test_progress_hears_of_every_thousand_rows_and_of_the_end(format):
    heard: list[int] = []

    renderer(format)(table(many(2_500)), BytesIO(), progress=heard.append)

    assert heard == [PROGRESS_EVERY_ROWS, 2 * PROGRESS_EVERY_ROWS, 2_500]


@every_format
@pytest.mark.parametrize("count", [0, PROGRESS_EVERY_ROWS])
def test_progress_hears_of_the_end_once(format, count):
    heard: list[int] = []

    renderer(format)(table(many(count)), BytesIO(), progress=heard.append)

    assert heard == [count]


@every_format
def test_progress_may_stop_the_rendering(format):
    class Stopped(Exception):
        pass

    def stop(rows: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        renderer(format)(table(), BytesIO(), progress=stop)


@every_format
def test_rows_are_let_go_of_while_others_come(format):
    class Counted(tuple):
        alive = most_alive = 0

        def __new__(cls, values):
            cls.alive += 1
            cls.most_alive = max(cls.alive, cls.most_alive)
            return super().__new__(cls, values)

        def __del__(self):
            type(self).alive -= 1

    renderer(format)(table(lambda: (Counted(line()) for _ in range(2_000))), BytesIO())

    assert Counted.most_alive <= 250


@every_format
def test_a_row_of_another_length_is_an_error(format):
    with pytest.raises(ValueError, match="row 1 has 1 cells and the table 7 columns"):
        render(format, table(lambda: iter([("only one cell",)])))
