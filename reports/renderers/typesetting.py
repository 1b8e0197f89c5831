"""Fonts, and text made to fit a width: measured, wrapped, elided or shrunk, so that cells never overlap."""

from functools import cache
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

# DejaVu 2.37, free to pass on (fonts/LICENSE): some 5,900 characters. The Vera that ReportLab ships has 283, none of
# them Greek or Cyrillic, and the one PyPI package of DejaVu requires a whole typesetting system.
REGULAR = "DejaVuSansCondensed"
BOLD = "DejaVuSansCondensed-Bold"
FONTS_DIR = Path(__file__).parent / "fonts"

ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# More than any cell shows; measuring a megabyte to elide it would cost seconds.
MAX_MEASURED_CHARACTERS = 1000


def register_fonts() -> None:
    """Make the canvas know the embedded fonts."""
    for name in (REGULAR, BOLD):
        font(name)


@cache
def font(name: str) -> TTFont:
    """The embedded font called ``name``, read once a process."""
    loaded = TTFont(name, str(FONTS_DIR / f"{name}.ttf"))
    pdfmetrics.registerFont(loaded)
    return loaded


@cache
def _drawable(name: str) -> frozenset[str]:
    # ReportLab's map from glyphs back to text has 16 bits: an emoji could be drawn, and would be copied as another sign
    return frozenset(chr(code) for code in font(name).face.charToGlyph if code <= 0xFFFF)


def width(text: str, name: str, size: float) -> float:
    """Points that ``text`` takes."""
    return font(name).stringWidth(text, size)


def one_line(text: str, name: str) -> str:
    """``text`` without line breaks and control characters. What the font can not draw becomes a visible U+FFFD: left
    alone it would be glyph 0, which copies out of the PDF as nothing."""
    text = " ".join(text[:MAX_MEASURED_CHARACTERS].split())
    drawable = _drawable(name)
    if drawable.issuperset(text):
        return text
    return "".join(character if character in drawable else REPLACEMENT for character in text)


def wrap(text: str, name: str, size: float, available: float, max_lines: int) -> tuple[str, ...]:
    """``text`` as at most ``max_lines`` lines no wider than ``available`` points, elided where more would follow."""
    text = one_line(text, name)
    lines: list[str] = []
    while text and len(lines) < max_lines - 1 and width(text, name, size) > available:
        cut = _fitting(text, name, size, available)
        space = text.rfind(" ", 0, cut + 1)
        cut = space if space > 0 else max(cut, 1)  # one word wider than the line is broken where it must
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    lines.append(elide(text, name, size, available))
    return tuple(lines)


def elide(text: str, name: str, size: float, available: float) -> str:
    """``text``, or as much of its beginning as fits before an ellipsis."""
    if width(text, name, size) <= available:
        return text
    cut = _fitting(text, name, size, available - width(ELLIPSIS, name, size))
    return text[:cut].rstrip() + ELLIPSIS


def shrunk_size(text: str, name: str, size: float, available: float) -> float:
    """``size``, or the smaller one at which ``text`` fits: an elided number would be a wrong number."""
    needed = width(text, name, size)
    return size if needed <= available else size * available / needed


def _fitting(text: str, name: str, size: float, available: float) -> int:
    """How many characters of ``text`` fit."""
    char_width = font(name).face.getCharWidth
    left = available * 1000 / size
    for count, character in enumerate(text):
        left -= char_width(ord(character))
        if left < 0:
            return count
    return len(text)
