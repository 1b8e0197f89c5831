"""The task image.process: what it accepts and what it answers."""

from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from pydantic import ValidationError

from media.models import Variant
from media.tasks import ImagePayload, process
from tests.unit.media.pictures import encoded, four_corners


class Context:
    """What the task uses of a JobContext."""

    def __init__(self) -> None:
        self.job_id = uuid4()
        self.attempt = 1
        self.requested_by = "token:t"
        self.checkpoints = 0
        self.progressed: list[tuple[int, int]] = []

    def checkpoint(self) -> None:
        self.checkpoints += 1

    def progress(self, done: int, total: int, note: str) -> None:
        self.progressed.append((done, total))


@pytest.mark.parametrize("name", ["cat.jpg", "2026/11/cat.jpg", "a/..b/cat..jpg", "Kätzchen 1.jpg"])
def test_a_relative_name_is_accepted(name):
    assert ImagePayload(source=name).source == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../secret.jpg",
        "a/../../b.jpg",
        "a\\..\\b.jpg",
        "\\\\host\\b.jpg",
        "C:\\b.jpg",
        "C:b",
        "a\0b",
    ],
)
def test_a_name_outside_the_storage_is_refused(name):
    with pytest.raises(ValidationError):
        ImagePayload(source=name)


def test_the_form_shows_an_upload():
    source = ImagePayload.model_json_schema()["properties"]["source"]
    assert (source["title"], source["format"]) == ("Picture", "stored-file")


@pytest.mark.django_db
def test_the_result_tells_the_original_and_every_variant(storage):
    storage.save("cat.png", ContentFile(encoded(four_corners(300, 150), "PNG")))
    context = Context()

    result = process(ImagePayload(source="cat.png"), context)

    assert result["original"] == {
        "format": "png", "width_px": 300, "height_px": 150, "size_bytes": storage.size("cat.png"),
    }  # fmt: skip
    thumb = Variant.objects.get(name="thumb", format="webp")
    assert str(thumb.image_id) == result["image_id"]
    assert len(result["variants"]) == 6
    assert result["variants"][1] == {
        "name": "thumb",
        "format": "webp",
        "width_px": 200,
        "height_px": 100,
        "size_bytes": thumb.size_bytes,
        "url": f"/api/v1/images/{thumb.image_id}/variants/thumb.webp",
    }
    assert context.checkpoints == 7
    assert context.progressed[-1] == (6, 6)
