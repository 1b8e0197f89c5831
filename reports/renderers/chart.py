"""A Table's chart as a drawing: stacked bars with a legend."""

import math
from typing import Any

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing, Rect, String

from reports.renderers.palette import HAIRLINE, INK, MUTED, TONES
from reports.renderers.typesetting import BOLD, REGULAR, elide, one_line, width
from reports.table import Chart

HEIGHT = 170.0

_LABEL_SIZE = 7.0
_TITLE_SIZE = 9.0
_PLOT_BOTTOM = 18.0
_PLOT_HEIGHT = 122.0
_SWATCH = 7.0
_WIDEST_BAR = 48.0
_SLOT_WITHOUT_GAP = 5.0  # narrower gaps fall between a screen's pixels, and show here and there only


def stacked_bars(chart: Chart, width_points: float) -> Drawing:
    """``chart`` drawn ``width_points`` wide and HEIGHT high."""
    drawing = Drawing(width_points, HEIGHT)
    legend_left = _add_legend(drawing, chart)
    title = elide(one_line(chart.title, BOLD), BOLD, _TITLE_SIZE, legend_left - 12)
    drawing.add(String(0, HEIGHT - 10, title, fontName=BOLD, fontSize=_TITLE_SIZE, fillColor=INK))
    drawing.add(_bars(chart, width_points))
    return drawing


def nice_step(highest: float, steps: int = 4) -> int:
    """Distance between grid lines: 1, 2 or 5 times a power of ten, about ``steps`` of them up to ``highest``."""
    rough = max(highest / steps, 1)
    magnitude = 10 ** math.floor(math.log10(rough))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)


def _bars(chart: Chart, width_points: float) -> VerticalBarChart:
    highest = max((sum(layers) for layers in zip(*(series.values for series in chart.series), strict=True)), default=0)
    step = nice_step(highest)
    top = step * max(math.ceil(highest / step), 1)
    gutter = width(f"{top:,}", REGULAR, _LABEL_SIZE) + 6

    bars: Any = VerticalBarChart()  # the stubs take its first values for its types
    bars.x, bars.y = gutter, _PLOT_BOTTOM
    bars.width, bars.height = width_points - gutter, _PLOT_HEIGHT
    bars.data = [tuple(series.values) for series in chart.series]
    bars.categoryAxis.style = "stacked"
    slot = bars.width / max(len(chart.labels), 1)
    bars.barWidth = slot if slot < _SLOT_WITHOUT_GAP else min(0.75 * slot, _WIDEST_BAR)
    bars.groupSpacing = slot - bars.barWidth
    for index, series in enumerate(chart.series):
        bars.bars[index].fillColor = TONES[series.tone]
        bars.bars[index].strokeColor = None

    values = bars.valueAxis
    values.valueMin, values.valueMax, values.valueStep = 0, top, step
    values.labelTextFormat = lambda value: f"{value:,.0f}"
    values.labels.fontName, values.labels.fontSize, values.labels.fillColor = REGULAR, _LABEL_SIZE, MUTED
    values.visibleAxis = values.visibleTicks = False
    values.visibleGrid = True
    values.gridStrokeColor, values.gridStrokeWidth = HAIRLINE, 0.5

    categories = bars.categoryAxis
    categories.categoryNames = _thinned(chart, bars.width)
    categories.labels.fontName, categories.labels.fontSize, categories.labels.fillColor = REGULAR, _LABEL_SIZE, MUTED
    categories.labels.dy = -4
    categories.strokeColor, categories.strokeWidth = MUTED, 0.75
    categories.visibleTicks = False
    return bars


def _thinned(chart: Chart, plot_width: float) -> list[str]:
    """The labels, every n-th only, so that they do not run into each other."""
    labels = [one_line(label, REGULAR) for label in chart.labels]
    widest = max((width(label, REGULAR, _LABEL_SIZE) for label in labels), default=0) + 8
    every = max(1, math.ceil(len(labels) * widest / plot_width))
    return [label if index % every == 0 else "" for index, label in enumerate(labels)]


def _add_legend(drawing: Drawing, chart: Chart) -> float:
    """Draw the legend at the top right, in the order of the layers; where it begins."""
    x = drawing.width
    for series in reversed(chart.series):
        name = one_line(series.name, REGULAR)
        x -= width(name, REGULAR, 8)
        drawing.add(String(x, HEIGHT - 10, name, fontName=REGULAR, fontSize=8, fillColor=MUTED))
        x -= _SWATCH + 4
        swatch: Any = Rect(x, HEIGHT - 10.5, _SWATCH, _SWATCH)
        swatch.fillColor, swatch.strokeColor = TONES[series.tone], None
        drawing.add(swatch)
        x -= 14
    return x
