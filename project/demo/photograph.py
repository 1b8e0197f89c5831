"""A file such as a telephone makes: large, lying on its side, and telling where it was taken."""

import io

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image, ImageDraw, ImageFilter

WIDTH_PX, HEIGHT_PX = 4000, 3000
TURNED_QUARTER = 6  # EXIF: turn a quarter to the right to see it upright
ORIENTATION, GPS = 0x0112, 0x8825


def photograph() -> tuple[str, int]:
    """Name in the default storage and size in bytes of a new 4000 x 3000 JPEG with EXIF data."""
    small = Image.new("RGB", (WIDTH_PX // 10, HEIGHT_PX // 10))
    draw = ImageDraw.Draw(small)
    for y in range(small.height):  # sky over hills
        draw.line([(0, y), (small.width, y)], fill=(90 + y // 4, 140 + y // 5, 235 - y // 3))
    draw.ellipse((280, 40, 340, 100), fill=(255, 236, 170))
    for hill in range(4):
        points = [(x, 190 + hill * 25 + 18 * ((x * (hill + 2) // 60) % 2) - (x % 60) // 4) for x in range(0, 460, 20)]
        draw.polygon([(0, 300), *points, (460, 300)], fill=(30 + hill * 12, 110 - hill * 18, 60))
    picture = small.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(3))
    noise = Image.effect_noise((WIDTH_PX, HEIGHT_PX), 24).convert("RGB")
    picture = Image.blend(picture, noise, 0.08)
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_QUARTER
    exif.get_ifd(GPS).update({1: "N", 2: (47.0, 22.0, 40.0), 3: "E", 4: (8.0, 32.0, 23.0)})
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90, exif=exif)
    content = stream.getvalue()
    return default_storage.save("uploads/demo/photograph.jpg", ContentFile(content)), len(content)
