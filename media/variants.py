"""The wanted sizes, as data."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One picture to make: at most so wide and so high, never larger than the original."""

    name: str
    max_width_px: int
    max_height_px: int
    format: Literal["webp", "jpeg"]
    quality: int

    @property
    def file_name(self) -> str:
        return f"{self.name}.{'jpg' if self.format == 'jpeg' else self.format}"


SIZES_PX = {"thumb": 200, "small": 480, "large": 1600}
QUALITIES: dict[Literal["webp", "jpeg"], int] = {"webp": 80, "jpeg": 82}

VARIANTS = tuple(
    Variant(name=name, max_width_px=edge, max_height_px=edge, format=format_, quality=quality)
    for name, edge in SIZES_PX.items()
    for format_, quality in QUALITIES.items()
)
