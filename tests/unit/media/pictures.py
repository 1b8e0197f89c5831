"""Real pictures, made where they are needed."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 0)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def four_corners(width_px: int = 80, height_px: int = 60) -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    image = Image.new("RGB", (width_px, height_px), RED)
    half_width, half_height = width_px // 2, height_px // 2
    image.paste(GREEN, (half_width, 0, width_px, half_height))
    image.paste(BLUE, (0, half_height, half_width, height_px))
    image.paste(YELLOW, (half_width, half_height, width_px, height_px))
    return image


def corners(image: Image.Image) -> list[Any]:
    """Top left, top right, bottom left, bottom right, a few pixels in from the edge."""
    right, bottom = image.width - 4, image.height - 4
    return [image.convert("RGB").getpixel(at) for at in ((3, 3), (right, 3), (3, bottom), (right, bottom))]


def alike(one: Any, other: Any, tolerance: int = 12) -> bool:
    """Whether two pixels, or two lists of pixels, look the same after lossy encoding."""
    if isinstance(one, list):
        return len(one) == len(other) and all(alike(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG that claims to be so large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp_header(width_px: int, height_px: int) -> bytes:
    """A small animated WebP whose canvas claims to be so large."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return bytes(data)
