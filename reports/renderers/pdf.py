"""PDF on A4, drawn straight on ReportLab's canvas: six times faster than its flowing tables, and a row at a time.

What grows with the table is about half a kilobyte a row, for the pages wait in memory until the file is closed.
"""

from collections.abc import Sequence
from datetime import UTC
from itertools import chain, islice
from typing import BinaryIO

from reportlab.graphics import renderPDF
from reportlab.lib.colors import Color
from reportlab.pdfgen.canvas import Canvas

from reports.renderers.base import CountedRows, Progress, Rendered
from reports.renderers.chart import HEIGHT as CHART_HEIGHT
from reports.renderers.chart import stacked_bars
from reports.renderers.display import display
from reports.renderers.layout import MARGIN, Layout
from reports.renderers.palette import ACCENT, HAIRLINE, HEAD, INK, MUTED, ZEBRA
from reports.renderers.totals import Totals
from reports.renderers.typesetting import (
    BOLD,
    REGULAR,
    elide,
    one_line,
    register_fonts,
    shrunk_size,
    width,
    wrap,
)
from reports.table import Cell, Row, Table

AUTHOR = "Task platform"

TABLE_BOTTOM = 54.0
FOOTER_BASELINE = 30.0
FOOTER_SIZE = 7.5
MAX_LINES = 3
SAMPLE_ROWS = 200  # looked at before the first page, to share its width between the columns
TOTAL_PAGES = "total-pages"

Lines = tuple[Sequence[str], float]
"""The lines of one cell, and the size of their letters."""


def render(table: Table, stream: BinaryIO, *, progress: Progress | None = None) -> Rendered:
    """Title, headline figures, chart, rows and totals; a table without rows says so on its one page."""
    register_fonts()
    counted = CountedRows(table, progress)
    rows = iter(counted)
    sample = list(islice(rows, SAMPLE_ROWS))
    totals = Totals(table.columns)
    sheets = _Sheets(table, stream, Layout.fitting(table.columns, sample))
    sheets.first_page(with_overview=bool(sample))
    for row in chain(sample, rows):
        sheets.row(row)
        totals.add(row)
    if not sample:
        sheets.notice("There is nothing to report for this period.")
    elif totals.wanted:
        sheets.totals(totals.row())
    return Rendered(rows=counted.count, pages=sheets.close())


class _Sheets:
    """The pages, filled from top to bottom; ``_y`` is where the next thing goes."""

    def __init__(self, table: Table, stream: BinaryIO, layout: Layout):
        self._table = table
        self._layout = layout
        self._lefts = [MARGIN + sum(layout.widths[:index]) for index in range(len(layout.widths))]
        self._right = layout.page_width - MARGIN
        self._canvas = _new_document(table, stream, layout)
        self._page = 0
        self._y = 0.0
        self._shaded = False

    def first_page(self, *, with_overview: bool) -> None:
        table, layout = self._table, self._layout
        self._begin_page()
        self._canvas.setFillColor(ACCENT)
        self._canvas.rect(0, layout.page_height - 6, layout.page_width, 6, stroke=0, fill=1)
        self._y = layout.page_height - 58
        self._say(MARGIN, table.title, BOLD, 20, INK, layout.content_width)
        self._y -= 17
        self._say(MARGIN, table.period, REGULAR, 10, MUTED, layout.content_width)
        self._y -= 18
        if with_overview and table.figures:
            self._figures()
        if with_overview and table.chart:
            self._y -= CHART_HEIGHT + 6
            renderPDF.draw(stacked_bars(table.chart, layout.content_width), self._canvas, MARGIN, self._y)
            self._y -= 16
        self._head()

    def row(self, row: Row) -> None:
        cells = self._cells(row, REGULAR)
        most = max((len(lines) for lines, _ in cells), default=1)
        height = self._layout.row_height + self._layout.leading * (most - 1)
        if self._y - height < TABLE_BOTTOM:
            self._next_page()
        if self._shaded:
            self._fill(ZEBRA, height)
        self._shaded = not self._shaded
        self._write(cells, REGULAR, self._layout.row_height)
        self._y -= height

    def totals(self, row: Sequence[Cell]) -> None:
        height = self._layout.head_height
        if self._y - height < TABLE_BOTTOM:
            self._next_page()
        self._fill(HEAD, height)
        self._rule(ACCENT, 1)
        self._write(self._cells(row, BOLD), BOLD, height)
        self._y -= height

    def notice(self, text: str) -> None:
        """One sentence where the rows would be."""
        self._y -= 40
        self._say((MARGIN + self._right - width(text, REGULAR, 10)) / 2, text, REGULAR, 10, MUTED)

    def close(self) -> int:
        """Finish the file; its number of pages."""
        self._end_page()
        self._canvas.beginForm(TOTAL_PAGES)
        self._say(0, f"of {self._page:,}", REGULAR, FOOTER_SIZE, MUTED)
        self._canvas.endForm()
        self._canvas.save()
        return self._page

    def _next_page(self) -> None:
        table, layout = self._table, self._layout
        self._end_page()
        self._begin_page()
        self._y = layout.page_height - 40
        self._say_right(table.period, REGULAR, 8, MUTED)
        left = layout.content_width - width(table.period, REGULAR, 8) - 12
        self._say(MARGIN, table.title, BOLD, 8, INK, left)
        self._y -= 10
        self._head()

    def _begin_page(self) -> None:
        self._page += 1
        # Cells are collected apart and drawn when the page ends, over the stripes, as one text object: one for each
        # cell would take twice as long.
        self._text = self._canvas.beginText()
        self._text.setFillColor(INK)
        self._text_font: tuple[str, float] | None = None

    def _end_page(self) -> None:
        self._canvas.drawText(self._text)
        self._y = FOOTER_BASELINE
        self._say_right(f"Generated {display(self._table.generated_at, 'datetime')} UTC", REGULAR, FOOTER_SIZE, MUTED)
        page = f"Page {self._page:,} "
        self._say(MARGIN, page, REGULAR, FOOTER_SIZE, MUTED)
        self._canvas.translate(MARGIN + width(page, REGULAR, FOOTER_SIZE), 0)
        self._canvas.doForm(TOTAL_PAGES)  # its content follows at the end, when the number is known
        self._canvas.showPage()

    def _figures(self) -> None:
        figures = self._table.figures
        each = self._layout.content_width / len(figures)
        self._rule(HAIRLINE, 0.5)
        self._y -= 24
        for index, figure in enumerate(figures):
            left = MARGIN + index * each
            if index:
                self._canvas.line(left, self._y + 16, left, self._y - 14)
                left += 12
            value = one_line(figure.value, BOLD)
            self._say(left, value, BOLD, shrunk_size(value, BOLD, 15, each - 18), INK)
        self._y -= 12
        for index, figure in enumerate(figures):
            left = MARGIN + index * each + (12 if index else 0)
            self._say(left, figure.heading, REGULAR, 7.5, MUTED, each - 18)
        self._y -= 10
        self._rule(HAIRLINE, 0.5)
        self._y -= 14

    def _head(self) -> None:
        layout = self._layout
        self._fill(HEAD, layout.head_height)
        cells: list[Lines] = []
        for column, column_width in zip(self._table.columns, layout.widths, strict=True):
            heading = one_line(column.heading, BOLD)
            cells.append(
                ([elide(heading, BOLD, layout.text_size, column_width - 2 * layout.padding)], layout.text_size)
            )
        self._write(cells, BOLD, layout.head_height)
        self._y -= layout.head_height
        self._rule(ACCENT, 1)
        self._shaded = False

    def _cells(self, row: Sequence[Cell], name: str) -> list[Lines]:
        """Texts wrap, numbers shrink."""
        layout = self._layout
        cells: list[Lines] = []
        for value, column, column_width in zip(row, self._table.columns, layout.widths, strict=True):
            shown = display(value, column.kind)
            available = column_width - 2 * layout.padding
            if column.is_number:
                shown = one_line(shown, name)
                cells.append(([shown], shrunk_size(shown, name, layout.text_size, available)))
            else:
                cells.append((wrap(shown, name, layout.text_size, available, MAX_LINES), layout.text_size))
        return cells

    def _write(self, cells: Sequence[Lines], name: str, line_height: float) -> None:
        """Cells of one row, the first line of each in the middle of ``line_height`` below ``_y``."""
        text, layout = self._text, self._layout
        baseline = self._y - line_height / 2 - 0.36 * layout.text_size  # 0.36: half a capital's height
        for index, (lines, size) in enumerate(cells):
            if self._text_font != (name, size):
                text.setFont(name, size)
                self._text_font = (name, size)
            for number, line in enumerate(lines):
                x = self._lefts[index] + layout.padding
                if self._table.columns[index].align == "right":
                    x += layout.widths[index] - 2 * layout.padding - width(line, name, size)
                text.setTextOrigin(x, baseline - number * layout.leading)
                text.textOut(line)

    def _say(self, x: float, text: str, name: str, size: float, color: Color, available: float | None = None) -> None:
        """One line at ``_y`` that is no part of the table."""
        text = one_line(text, name)
        self._canvas.setFont(name, size)
        self._canvas.setFillColor(color)
        self._canvas.drawString(x, self._y, text if available is None else elide(text, name, size, available))

    def _say_right(self, text: str, name: str, size: float, color: Color) -> None:
        text = elide(one_line(text, name), name, size, self._layout.content_width / 2)
        self._say(self._right - width(text, name, size), text, name, size, color)

    def _fill(self, color: Color, height: float) -> None:
        self._canvas.setFillColor(color)
        self._canvas.rect(MARGIN, self._y - height, self._layout.content_width, height, stroke=0, fill=1)

    def _rule(self, color: Color, thickness: float) -> None:
        self._canvas.setStrokeColor(color)
        self._canvas.setLineWidth(thickness)
        self._canvas.line(MARGIN, self._y, self._right, self._y)


def _new_document(table: Table, stream: BinaryIO, layout: Layout) -> Canvas:
    """An empty document with its metadata. Its bytes depend on the table alone: ``invariant`` leaves out the clock and
    the file's name, and the date is the table's."""
    size = (layout.page_width, layout.page_height)
    canvas = Canvas(stream, pagesize=size, pageCompression=1, invariant=1, lang="en")
    created = table.generated_at.astimezone(UTC).strftime("D:%Y%m%d%H%M%S+00'00'")
    canvas.setDateFormatter(lambda *_: created)
    canvas.setTitle(table.title)
    canvas.setSubject(table.period)
    canvas.setAuthor(AUTHOR)
    canvas.setCreator(AUTHOR)
    canvas.setViewerPreference("DisplayDocTitle", "true")
    return canvas
