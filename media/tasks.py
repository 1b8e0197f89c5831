"""The door for image work."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from media import services
from tasks.api import JobContext, RetryPolicy, Sensitive, StoredFile, check_url, task


class ImagePayload(BaseModel):
    source: StoredFile = Field(
        "",
        title="Picture",
        description="An uploaded AVIF, BMP, GIF, JPEG, PNG, TIFF or WebP file, of at most 50 million pixels.",
        max_length=500,
    )
    # A signed address opens what it names to anyone who reads it.
    url: Annotated[str, Sensitive()] = Field(
        "",
        title="Address",
        description="Instead of a file: fetched by https, from a public address, without redirects.",
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

    @field_validator("url")
    @classmethod
    def _may_be_called(cls, url: str) -> str:
        return check_url(url) if url else url

    @model_validator(mode="after")
    def _is_one_picture(self) -> Self:
        if bool(self.source) == bool(self.url):
            fault = PydanticCustomError("one_picture", "give a source or a url, and not both")  # named by its field
            details = InitErrorDetails(type=fault, loc=("source",), input=self.source)
            raise ValidationError.from_exception_data(type(self).__name__, [details])
        return self


@task(
    "image.process",
    payload=ImagePayload,
    queue="image-queue",
    retry=RetryPolicy(max_attempts=3),
    time_limit_seconds=120,
    title="Picture",
    envelope_type="image",
)
def process(payload: ImagePayload, context: JobContext) -> dict[str, Any]:
    """Turn an uploaded picture into thumbnail, small and large, each as WebP and JPEG, without its metadata."""

    def before_variant(done: int, total: int, note: str) -> None:
        context.checkpoint()
        context.progress(done, total, note)

    image = services.process(
        payload.source,
        url=payload.url,
        job_id=context.job_id,
        requested_by=context.requested_by,
        attempt=context.attempt,
        before_variant=before_variant,
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
                "url": variant.address,
            }
            for variant in image.variants.all()
        ],
    }
