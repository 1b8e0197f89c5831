"""Stored files as answers."""

from typing import Any

from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404


def file_documented(*content_types: str) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that answers with a file of one of these types."""
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in content_types}
    return {"responses": {200: {"description": "The file.", "content": content}}}


def file_answer(file: FieldFile, *, name: str, content_type: str, shown_in_place: bool = False) -> FileResponse:
    """``file``, sent piece by piece. Raises Http404 where the storage has it no more.

    Only what we have drawn ourselves is ``shown_in_place``: what a user wrote must be no page of this site.
    """
    try:
        stored = file.open("rb")
    except FileNotFoundError:
        raise Http404(f"the file {name} is gone from the storage") from None
    response = FileResponse(stored, as_attachment=not shown_in_place, filename=name)
    response["Content-Type"] = content_type
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response
