"""media.imaging with real pictures."""

import subprocess
import sys
import textwrap
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from media.imaging import UnusablePicture, read, render
from media.variants import VARIANTS, Variant
from tests.unit.media.pictures import BLUE, GREEN, RED, YELLOW, alike, corners, encoded, four_corners, png_header

WEBP = Variant(name="small", max_width_px=480, max_height_px=480, format="webp", quality=90)
JPEG = Variant(name="small", max_width_px=480, max_height_px=480, format="jpeg", quality=95)


def converted(data: bytes, variant: Variant = JPEG) -> Image.Image:
    (rendition,) = render(read(data, [variant]), [variant])
    image = Image.open(BytesIO(rendition.data))
    assert image.size == (rendition.width_px, rendition.height_px)
    image.load()
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_every_exif_orientation_comes_out_upright(format_, orientation):
    shown = four_corners()
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = shown.transpose(undo) if undo is not None else shown
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(stored, format_, exif=exif)

    picture = read(data, VARIANTS)

    assert (picture.width_px, picture.height_px) == shown.size
    for rendition in render(picture, VARIANTS):
        image = Image.open(BytesIO(rendition.data))
        assert image.size == shown.size
        assert alike(corners(image), [RED, GREEN, BLUE, YELLOW], tolerance=25)


def test_a_photo_turned_on_its_side_still_fills_its_box():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    banner = Variant(name="banner", max_width_px=100, max_height_px=400, format="jpeg", quality=90)
    assert converted(encoded(four_corners(2000, 500), "JPEG", exif=exif), banner).size == (100, 400)


@pytest.mark.parametrize("with_profile", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_no_metadata_survives(mode, with_profile):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Somebody"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    extras = {"exif": exif, "xmp": b"<x:xmpmeta>secret</x:xmpmeta>", "comment": b"secret comment"}
    if with_profile:
        extras["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(four_corners().convert(mode), "JPEG", **extras)
    before = Image.open(BytesIO(data))
    assert before.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert extras.keys() <= before.info.keys()

    for rendition in render(read(data, VARIANTS), VARIANTS):
        after = Image.open(BytesIO(rendition.data))
        assert not after.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment"} & set(after.info)
        assert b"Somebody" not in rendition.data
        assert b"secret" not in rendition.data


def test_broken_exif_is_no_reason_to_refuse():
    assert converted(encoded(four_corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).size == (80, 60)


def grey_16_bits() -> Image.Image:
    image = Image.new("I;16", (40, 40))
    image.paste(32_896, (0, 0, 40, 40))  # 128 of 255
    return image


def palette_with_alpha() -> Image.Image:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((*RED, 255), (20, 0, 40, 40))
    return image.quantize(8)


@pytest.mark.parametrize(
    ("image", "format_", "pixel"),
    [
        pytest.param(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", RED, id="CMYK JPEG"),
        pytest.param(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "TIFF", RED, id="CMYK TIFF"),
        pytest.param(Image.new("L", (40, 40), 128), "JPEG", (128, 128, 128), id="grey JPEG"),
        pytest.param(grey_16_bits(), "PNG", (128, 128, 128), id="16-bit grey PNG"),
        pytest.param(grey_16_bits(), "TIFF", (128, 128, 128), id="16-bit grey TIFF"),
        pytest.param(Image.new("1", (40, 40), 1), "PNG", (255, 255, 255), id="1-bit PNG"),
        pytest.param(Image.new("P", (40, 40)), "GIF", (0, 0, 0), id="palette GIF"),
        pytest.param(Image.new("LA", (40, 40), (0, 0)), "PNG", (255, 255, 255), id="transparent grey PNG"),
        pytest.param(Image.new("RGBA", (40, 40), (0, 0, 255, 128)), "PNG", (127, 127, 255), id="half blue PNG"),
        pytest.param(palette_with_alpha(), "PNG", (255, 255, 255), id="palette PNG with alpha"),
        pytest.param(Image.new("LAB", (40, 40), (255, 128, 128)), "TIFF", (255, 255, 255), id="LAB TIFF"),
        pytest.param(Image.new("RGB", (40, 40), RED), "BMP", RED, id="BMP"),
    ],
)
def test_every_kind_of_pixel_becomes_rgb_on_white(image, format_, pixel):
    jpeg = converted(encoded(image, format_))
    assert jpeg.mode == "RGB"
    assert alike(jpeg.getpixel((3, 3)), pixel)


def test_webp_keeps_transparency_and_jpeg_turns_it_white():
    data = encoded(palette_with_alpha(), "PNG")
    webp, jpeg = converted(data, WEBP), converted(data, JPEG)
    assert webp.mode == "RGBA"
    assert webp.getpixel((3, 3))[3] == 0
    assert webp.getpixel((36, 36))[3] == 255
    assert alike(corners(jpeg), [(255, 255, 255), RED, (255, 255, 255), RED])


def test_a_colour_profile_is_applied_before_it_is_dropped():
    data = encoded(Image.new("RGB", (40, 40), (200, 30, 30)), "PNG", icc_profile=swap_red_and_blue())
    red, _, blue = converted(data).getpixel((9, 9))
    assert blue > 150 > red


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile at all", id="broken"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="for other pixels"),
    ],
)
def test_a_colour_profile_of_no_use_is_left_aside(profile):
    colour = (90, 160, 60)
    data = encoded(Image.new("RGB", (40, 40), colour), "PNG", icc_profile=profile)
    assert alike(converted(data).getpixel((9, 9)), colour, tolerance=3)


def swap_red_and_blue() -> bytes:
    """sRGB with the primaries of red and blue exchanged: red pixels tagged with it are meant to be seen as blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def test_the_first_frame_of_an_animation_is_shown():
    frames = [Image.new("RGB", (40, 40), colour) for colour in (BLUE, RED, GREEN)]
    for format_ in ("GIF", "WEBP", "PNG", "AVIF"):
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=100)
        assert alike(converted(data).getpixel((9, 9)), BLUE, tolerance=20), format_


def test_several_pictures_in_one_jpeg_show_the_first():
    data = encoded(four_corners(), "MPO", save_all=True, append_images=[Image.new("RGB", (80, 60))])
    assert read(data, VARIANTS).format == "jpeg"
    assert alike(corners(converted(data)), [RED, GREEN, BLUE, YELLOW], tolerance=25)


def test_variants_fit_their_boxes_and_keep_the_shape():
    picture = read(encoded(four_corners(3000, 2000), "JPEG"), VARIANTS)
    assert (picture.format, picture.width_px, picture.height_px) == ("jpeg", 3000, 2000)
    sizes = {(r.variant.name, r.variant.format): (r.width_px, r.height_px) for r in render(picture, VARIANTS)}
    assert sizes == {
        ("thumb", "webp"): (200, 133),
        ("thumb", "jpeg"): (200, 133),
        ("small", "webp"): (480, 320),
        ("small", "jpeg"): (480, 320),
        ("large", "webp"): (1600, 1067),
        ("large", "jpeg"): (1600, 1067),
    }


@pytest.mark.parametrize("size", [(1, 1), (17, 3), (200, 199)])
def test_a_tiny_picture_is_not_enlarged(size):
    picture = read(encoded(Image.new("RGB", size), "PNG"), VARIANTS)
    assert {(r.width_px, r.height_px) for r in render(picture, VARIANTS)} == {size}


def test_a_very_long_picture_keeps_at_least_one_pixel_of_height():
    assert converted(encoded(Image.new("RGB", (5000, 2)), "PNG")).size == (480, 1)


def test_boxes_of_different_shapes_do_not_spoil_each_other():
    wide = Variant(name="wide", max_width_px=400, max_height_px=60, format="jpeg", quality=90)
    tall = Variant(name="tall", max_width_px=60, max_height_px=300, format="jpeg", quality=90)
    picture = read(encoded(Image.effect_noise((600, 800), 60), "PNG"), [wide, tall])
    both, (alone,) = list(render(picture, [wide, tall])), render(picture, [tall])
    assert [(r.width_px, r.height_px) for r in both] == [(45, 60), (60, 80)]
    assert both[1].data == alone.data  # not made of the smaller one


def test_a_large_jpeg_is_decoded_small(monkeypatch):
    decoded = []
    prepare = JpegImageFile.load_prepare
    monkeypatch.setattr(JpegImageFile, "load_prepare", lambda self: decoded.append(self.size) or prepare(self))
    picture = read(encoded(four_corners(3200, 2400), "JPEG"), [JPEG])
    assert decoded == [(800, 600)]
    assert picture.pixels.size == (480, 360)
    assert (picture.width_px, picture.height_px) == (3200, 2400)


PHOTO = encoded(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(PHOTO[: len(PHOTO) // 2], "JPEG file is damaged or cut short", id="truncated JPEG"),
        pytest.param(b"%PDF-1.7 not a picture, whatever its name says", "not a picture", id="text called .jpg"),
        pytest.param(b"", "not a picture", id="empty file"),
        pytest.param(PHOTO[:20], "not a picture, or a damaged one", id="beginning of a header"),
        pytest.param(encoded(four_corners(), "PPM"), "not a picture", id="a format that is not accepted"),
        pytest.param(encoded(Image.new("F", (9, 9)), "TIFF"), "32 bits per channel", id="32-bit TIFF"),
        pytest.param(png_header(7_100, 7_100), "7,100 x 7,100 pixels", id="a little too large"),
        pytest.param(png_header(10_000, 10_000), "too many pixels", id="what Pillow warns of"),
        pytest.param(png_header(60_000, 60_000), "too many pixels", id="what Pillow refuses"),
        pytest.param(png_header(7_000, 7_000), "PNG file is damaged or cut short", id="allowed size, no data"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason_and_what_is_accepted(data, complaint):
    with pytest.raises(UnusablePicture, match=complaint) as refusal:
        read(data, VARIANTS)
    assert "accepted are AVIF, BMP, GIF, JPEG, PNG, TIFF and WebP" in str(refusal.value)
    assert "0x" not in str(refusal.value)


def test_a_bomb_is_refused_before_it_costs_memory():
    script = textwrap.dedent("""
        import resource
        from media.imaging import UnusablePicture, read
        from media.variants import VARIANTS
        from tests.unit.media.pictures import png_header, webp_header

        def peak_kb():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        before = peak_kb()
        bombs = [png_header(7_100, 7_100), png_header(12_000, 12_000), png_header(60_000, 60_000)]
        bombs.append(webp_header(16_000, 16_000))
        for bomb in bombs:
            try:
                read(bomb, VARIANTS)
            except UnusablePicture as error:
                assert "pixels; accepted are" in str(error)
            else:
                raise SystemExit("accepted")
        print(peak_kb() - before)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # decoded, the smallest of them takes 200,000


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_damaged_bytes_are_refused_or_read_but_never_a_bug(format_):
    data = encoded(four_corners(64, 48), format_)
    step = max(1, len(data) // 60)
    for at in range(0, len(data), step):
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            try:
                picture = read(damaged, [WEBP])
            except UnusablePicture:
                continue
            assert list(render(picture, [WEBP]))
