"""Files that somebody sends, kept in the default storage."""

import re
import secrets
from pathlib import PurePath

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

UPLOAD_FOLDER = "uploads/%Y/%m"


def storage_name(name: str) -> str:
    """A name no other upload has, of which nothing but harmless letters comes from the browser."""
    path = PurePath(name.replace("\\", "/"))
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-")[:60] or "file"
    suffix = re.sub(r"[^A-Za-z0-9.]", "", path.suffix)[:12].lower()
    return f"{timezone.now().strftime(UPLOAD_FOLDER)}/{secrets.token_hex(8)}-{stem}{suffix}"


def save_uploads(uploads: list[tuple[str, UploadedFile]]) -> None:
    """Keep the files under exactly these names; all of them, or none and the error."""
    saved: list[str] = []
    try:
        for name, upload in uploads:
            saved.append(default_storage.save(name, upload))
            if saved[-1] != name:
                raise FileExistsError(name)
    except Exception:
        for name in saved:
            default_storage.delete(name)
        raise
