"""/images: send one or name its address, see what was made of it."""

from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from ninja import Router
from ninja.errors import HttpError
from ninja.errors import ValidationError as InvalidRequest
from pydantic import Field
from typing_extensions import TypedDict

from media.models import Image, Variant
from tasks.api import InvalidJob, KeyInUse
from tasks.http.door import (
    IDEMPOTENCY_HEADER,
    JobOptions,
    JobOut,
    PageOut,
    PageQuery,
    accept_payload,
    allowed,
    answer,
    answer_accepted,
    answer_page,
    checked,
    cursor_of,
    digest,
    enqueue_for,
    file_answer,
    file_documented,
    forget_upload,
    page,
    page_documented,
    parameters,
    parsed_text,
    read_query,
    require_view,
    save_uploads,
    storage_name,
    visible,
)

TASK = "image.process"
MULTIPART = "multipart/form-data"
MOST_AROUND_BYTES = 64 * 1024
"""Of a multipart body, what is not the file: boundaries, names and options."""

router = Router(tags=["images"])


class ImageIn(JobOptions):
    """A picture that the job fetches."""

    url: str = Field(min_length=1, max_length=500, description="By https, from a public address, without redirects.")


class ImagesQuery(PageQuery):
    job: UUID | None = None


class VariantOut(TypedDict):
    name: str
    format: str
    width_px: int
    height_px: int
    size_bytes: int
    file: str


class ImageOut(TypedDict):
    id: UUID
    job: UUID
    source: str
    format: str
    width_px: int
    height_px: int
    size_bytes: int
    requested_by: str
    created_at: datetime
    variants: list[VariantOut]


def _documented() -> dict[str, Any]:
    picture = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}, "options": JobOptions.model_json_schema()},
    }
    form = {"schema": picture, "encoding": {"options": {"contentType": "application/json"}}}
    content = {MULTIPART: form, "application/json": {"schema": ImageIn.model_json_schema()}}
    return {"parameters": parameters(), "requestBody": {"required": True, "content": content}}


@router.post(
    "/images",
    response={200: JobOut, 202: JobOut},
    auth=allowed("jobs.enqueue"),
    summary="Send a picture, or its address",
    openapi_extra=_documented(),
)
def create_image(request: HttpRequest) -> HttpResponse:
    """A job of `image.process`: thumbnail, small and large, each as WebP and JPEG. Its result names each file.

    A form has the picture as `file`, and may have `options` as JSON beside it.
    """
    if request.content_type == "application/json":
        return accept_payload(request, TASK, ImageIn)
    if request.content_type != MULTIPART:
        raise HttpError(415, f"the body is {MULTIPART} with a `file`, or application/json with a `url`")
    upload, options = _read_form(request)
    known = digest(TASK, _sha256(upload), options.model_dump(mode="json")) if IDEMPOTENCY_HEADER in request.META else ""
    name = storage_name(upload.name or "picture")
    save_uploads([(name, upload)])
    try:
        job = enqueue_for(request, TASK, {"source": name}, options, digest=known)
    except (InvalidJob, KeyInUse):  # nothing else says for sure that no job was kept
        forget_upload(name)
        raise
    if job.payload.get("source") != name:  # the key's first job has a file of its own
        forget_upload(name)
    return answer_accepted(request, job)


@router.get(
    "/images",
    response=PageOut[ImageOut],
    auth=allowed("jobs.view"),
    summary="List pictures",
    openapi_extra=page_documented(ImagesQuery),
)
def list_images(request: HttpRequest) -> HttpResponse:
    """The newest first; what is somebody else's only for who may see it."""
    require_view(request, Image)
    given = read_query(request, ImagesQuery)
    rows = visible(request, Image.objects.prefetch_related("variants"))
    rows = rows.filter(job_id=given.job) if given.job else rows
    return answer_page(request, page(rows, limit=given.limit, cursor=cursor_of(given, UUID)), _shown)


@router.get("/images/{uuid:image_id}", response=ImageOut, auth=allowed("jobs.view"), summary="Read a picture")
def read_image(request: HttpRequest, image_id: UUID) -> HttpResponse:
    return answer(_shown(_readable(request, image_id)))


@router.get(
    "/images/{uuid:image_id}/variants/{file_name}",
    auth=allowed("jobs.view"),
    summary="See a variant",
    openapi_extra=file_documented("image/webp", "image/jpeg"),
)
def read_variant(request: HttpRequest, image_id: UUID, file_name: str) -> FileResponse:
    """`file_name` is the variant's name and format, like `thumb.webp` or `large.jpg`."""
    for variant in _readable(request, image_id).variants.all():
        if variant.address.rpartition("/")[2] == file_name:
            kind = f"image/{variant.format}"
            return file_answer(variant.file, name=file_name, content_type=kind, shown_in_place=True)
    raise Http404(f"there is no variant {file_name} of picture {image_id}")


def _read_form(request: HttpRequest) -> tuple[UploadedFile, JobOptions]:
    """Django writes the file to disk while it comes in. Raises HttpError and ninja's ValidationError."""
    most = settings.TASKS_MAX_UPLOAD_BYTES
    too_large = f"the file has more than {most:,} bytes, which is MAX_UPLOAD_BYTES"
    if int(request.META.get("CONTENT_LENGTH") or 0) > most + MOST_AROUND_BYTES:  # not one byte of it is read
        raise HttpError(413, too_large)
    try:
        files, fields = request.FILES, request.POST
    except RequestDataTooBig:
        raise
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise HttpError(400, f"the form can not be read: {error}") from None
    if unknown := sorted({*files, *fields} - {"file", "options"}):
        raise InvalidRequest([{"loc": ("body", "", unknown[0]), "msg": "is no part of this form", "type": "unknown"}])
    uploads = files.getlist("file")
    if len(uploads) != 1 or len(fields.getlist("options")) > 1:
        raise InvalidRequest([{"loc": ("body", "", "file"), "msg": "comes once, as a file", "type": "missing"}])
    if not uploads[0].size:
        raise InvalidRequest([{"loc": ("body", "", "file"), "msg": "is empty", "type": "empty"}])
    if uploads[0].size > most:
        raise HttpError(413, too_large)
    text = fields.get("options")
    given = parsed_text(text.encode("utf-8", "surrogatepass")) if text else {}
    return uploads[0], checked(given, JobOptions, "options")


def _sha256(upload: UploadedFile) -> str:
    found = sha256()
    for chunk in upload.chunks():
        found.update(chunk)
    upload.seek(0)
    return found.hexdigest()


def _readable(request: HttpRequest, image_id: UUID) -> Image:
    require_view(request, Image)
    image = visible(request, Image.objects.prefetch_related("variants")).filter(pk=image_id).first()
    if image is None:
        raise Http404(f"there is no picture {image_id}")
    return image


def _shown(image: Image) -> ImageOut:
    return {
        "id": image.id,
        "job": image.job_id,
        "source": str(image),
        "format": image.format,
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
        "requested_by": image.requested_by,
        "created_at": image.created_at,
        "variants": [_shown_variant(variant) for variant in image.variants.all()],
    }


def _shown_variant(variant: Variant) -> VariantOut:
    return {
        "name": variant.name,
        "format": variant.format,
        "width_px": variant.width_px,
        "height_px": variant.height_px,
        "size_bytes": variant.size_bytes,
        "file": variant.address,
    }
