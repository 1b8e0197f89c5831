"""Bars, one an hour, as inline SVG: a chart for each row of a list would be a script each."""

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

STEP = 5
"""Width of a bar with its gap, in the drawing's own units."""
HEIGHT = 24


def sparkline(counts: Sequence[int], *, is_large: bool = False) -> SafeString:
    """``counts`` of the latest hours, the last of them now; for those who can not see it, in words."""
    most = max(counts, default=0)
    bars = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}"></rect>',
        (_bar(place, count, most) for place, count in enumerate(counts) if count),
    )
    return format_html(
        '<svg class="tp-spark{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>",
        " tp-spark-large" if is_large else "",
        STEP * len(counts),
        HEIGHT,
        in_words(counts),
        in_words(counts),
        bars,
    )


def in_words(counts: Sequence[int]) -> str:
    if not any(counts):
        return f"None in the last {len(counts)} hours"
    latest, most = f"{counts[-1]:,} in the last one", f"at most {max(counts):,} in one"
    return f"{sum(counts):,} in the last {len(counts)} hours, {latest}, {most}"


def _bar(place: int, count: int, most: int) -> tuple[int, int, int, int]:
    height = max(2, round(count / most * HEIGHT))  # one among a thousand is still seen
    return place * STEP, HEIGHT - height, STEP - 1, height
