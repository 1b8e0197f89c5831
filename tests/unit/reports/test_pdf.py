import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from reports.renderers.chart import nice_step
from reports.renderers.layout import MARGIN, Layout, column_widths
from reports.renderers.typesetting import REGULAR, one_line, shrunk_size, width, wrap
from reports.table import Chart, Column, Series
from tests.unit.reports.tables import COLUMNS, NONE_ROW, line, many, pdf, pdf_text, render, table


def test_the_document_says_what_it_is():
    about = pdf(table()).metadata

    assert about.title == "Orders"
    assert about.subject == "17 Nov 2026 – 23 Nov 2026"  # noqa: RUF001
    assert about.author == "Task platform"
    assert about.creation_date == datetime(2026, 11, 23, 13, 5, tzinfo=UTC)


def test_the_first_page_has_title_period_figures_and_chart():
    text = pdf(table()).pages[0].extract_text()

    for expected in ("Orders", "17 Nov 2026 – 23 Nov 2026", "Revenue", "1,234", "Orders by day", "Paid"):  # noqa: RUF001
        assert expected in text


def test_every_page_repeats_the_head_and_counts_the_pages():
    pages = pdf(table(many(300))).pages

    assert len(pages) > 3
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        assert re.search(rf"Page {number}\s+of {len(pages)}", text)
        assert "Generated 23 Nov 2026 13:05 UTC" in text
        assert "Customer" in text
        assert "Last seen" in text


def test_every_row_is_printed_once_and_in_order():
    numbers = re.findall(r"Customer (\d+)", pdf_text(table(many(300))))

    assert [int(number) for number in numbers] == list(range(300))


def test_the_last_page_ends_with_the_totals():
    rows = [line(orders=1_000, amount=Decimal("0.10")), line(orders=234, amount=0.2), NONE_ROW]

    text = pdf_text(table(lambda: iter(rows)))

    assert re.search(r"Total\s+1,234\s+0\.30", text)


def test_a_table_without_total_columns_has_no_totals_row():
    assert "Total" not in pdf_text(table(lambda: iter([("a",)]), [Column(name="a", heading="A")]))


def test_a_table_without_rows_says_so_on_one_page():
    document = pdf(table(lambda: iter(())))

    assert len(document.pages) == 1
    text = document.pages[0].extract_text()
    assert "There is nothing to report for this period." in text
    assert "Total" not in text
    assert "Orders by day" not in text


def test_values_read_like_values():
    text = pdf_text(table(lambda: iter([line(orders=1_234_567, amount=Decimal("-9876.5"))])))

    for expected in ("1,234,567", "-9,876.50", "17 Nov 2026", "17 Nov 2026 08:30", "1.50 s"):
        assert expected in text


def test_what_the_font_can_not_draw_is_replaced_and_not_dropped():
    text = pdf_text(table(lambda: iter([line("Москва Ελλάδα Łódź", "東京 \U0001f600 \x00\ud800")])))

    assert "Москва Ελλάδα Łódź" in text
    assert "�� � ��" in text


def test_the_fonts_are_embedded():
    data = render("pdf", table())

    assert data.count(b"/FontFile2") >= 2
    fonts = pdf(table()).pages[0]["/Resources"]["/Font"].values()
    drawn = [font for font in fonts if "DejaVu" in font["/BaseFont"]]
    assert len(drawn) >= 2


def test_a_table_too_wide_for_upright_paper_is_turned():
    columns = [Column(name=f"c{number}", heading=f"Column {number}") for number in range(14)]

    upright = pdf(table()).pages[0].mediabox
    turned = pdf(table(lambda: iter([("some text",) * 14]), columns)).pages[0].mediabox

    assert upright.width < upright.height
    assert turned.width > turned.height


def test_a_year_of_bars_is_drawn():
    labels = [f"day {number}" for number in range(366)]
    chart = Chart(title="Year", labels=labels, series=[Series(name="All", values=range(366), tone="quiet")])

    assert "Year" in pdf(table(chart=chart)).pages[0].extract_text()


@pytest.mark.parametrize(
    ("highest", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (40, 10), (41, 20), (999, 500), (12_345, 5_000)]
)
def test_grid_lines_are_at_round_numbers(highest, step):
    assert nice_step(highest) == step


@pytest.mark.parametrize(
    "text", ["word " * 50, "x" * 500, "a " + "y" * 300, "short", "", "line\nbreak\ttab", "东京" * 90]
)
@pytest.mark.parametrize("available", [30.0, 77.7, 240.0])
@pytest.mark.parametrize("max_lines", [1, 3])
def test_wrapped_lines_fit_their_width(text, available, max_lines):
    lines = wrap(text, REGULAR, 8, available, max_lines)

    assert 1 <= len(lines) <= max_lines
    assert all(width(line, REGULAR, 8) <= available for line in lines)
    shown, whole = "".join(lines).replace(" ", ""), one_line(text, REGULAR).replace(" ", "")
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


def test_a_number_that_does_not_fit_is_set_smaller_and_stays_whole():
    text = "123,456,789,012,345.00"

    size = shrunk_size(text, REGULAR, 8, 40)

    assert size < 8
    assert width(text, REGULAR, size) == pytest.approx(40)
    assert shrunk_size("1", REGULAR, 8, 40) == 8


@pytest.mark.parametrize(
    "wanted", [[50] * 7, [400, 300, 60, 60, 60, 60, 60], [10] * 7, [400, 300, 200, 200, 60, 60, 60]]
)
def test_columns_fill_the_width_and_no_more(wanted):
    widths = column_widths(COLUMNS, wanted, 500)

    assert sum(widths) == pytest.approx(500)
    assert all(width > 0 for width in widths)


def test_texts_give_way_before_numbers_do():
    widths = column_widths(COLUMNS, [400, 300, 60, 60, 60, 60, 60], 500)

    assert widths[2:] == pytest.approx([60] * 5)
    assert max(widths[:2]) < 400


def test_forty_columns_still_fit_the_page():
    columns = [Column(name=f"c{number}", heading=f"Heading {number}", kind="integer") for number in range(40)]

    layout = Layout.fitting(columns, [tuple(range(1_000_000, 1_000_040))])

    assert sum(layout.widths) == pytest.approx(layout.page_width - 2 * MARGIN)
    assert min(layout.widths) > 2 * layout.padding
