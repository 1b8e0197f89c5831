"""The door for image work."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import BaseModel, Field, field_validator

from media import services
from tasks.api import JobContext, RetryPolicy, StoredFile, task


class ImagePayload(BaseModel):
    source: StoredFile = Field(
        title="Picture",
        description="An uploaded AVIF, BMP, GIF, JPEG, PNG, TIFF or WebP file, of at most 50 million pixels.",
        min_length=1,
        max_length=500,
    )

    @field_validator("source")
    @classmethod
    def _is_inside_the_storage(cls, name: str) -> str:
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\0" in name:
            raise ValueError("must be the relative name of a file in the storage")
        if ".." in PureWindowsPath(name).parts:  # it splits at both kinds of slash
            raise ValueError('must not leave the storage: ".." is not allowed')
        return name


@task(
    "image.process",
    payload=ImagePayload,
    queue="image-queue",
    retry=RetryPolicy(max_attempts=3),
    time_limit_seconds=120,
    title="Picture",
)
def process(payload: ImagePayload, context: JobContext) -> dict[str, Any]:
    """Turn an uploaded picture into thumbnail, small and large, each as WebP and JPEG, without its metadata."""

    def before_variant(done: int, total: int, note: str) -> None:
        context.checkpoint()
        context.progress(done, total, note)

    image = services.process(
        payload.source, job_id=context.job_id, attempt=context.attempt, before_variant=before_variant
    )
    return {
        "image_id": str(image.pk),
        "original": {
            "format": image.format,
            "width_px": image.width_px,
            "height_px": image.height_px,
            "size_bytes": image.size_bytes,
        },
        "variants": [
            {
                "name": variant.name,
                "format": variant.format,
                "width_px": variant.width_px,
                "height_px": variant.height_px,
                "size_bytes": variant.size_bytes,
                "url": variant.url,
            }
            for variant in image.variants.all()
        ],
    }
