"""Colours of printed reports. Layers of a chart differ in lightness too, for readers who do not tell red from green."""

from reportlab.lib.colors import Color, HexColor

from reports.table import Tone

INK = HexColor(0x1B2638)
MUTED = HexColor(0x66738A)
HAIRLINE = HexColor(0xD5DBE5)
ZEBRA = HexColor(0xF4F6FA)
HEAD = HexColor(0xE6EBF4)
ACCENT = HexColor(0x2F5FD0)

TONES: dict[Tone, Color] = {
    "good": ACCENT,
    "bad": HexColor(0xD1343B),
    "open": HexColor(0xF0B23A),
    "quiet": HexColor(0xA9B4C6),
}
