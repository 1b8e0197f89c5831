"""Files that somebody sends, kept in the default storage."""

import logging
import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

UPLOADS = "uploads"
UPLOAD_FOLDER = f"{UPLOADS}/%Y/%m"

logger = logging.getLogger(__name__)


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
            forget_upload(name)
        raise


def forget_upload(name: str) -> None:
    """Delete the file that no job was made for. One that stays is no reason to fail: it is pruned in time."""
    try:
        default_storage.delete(name)
    except Exception:
        logger.warning("the upload %s can not be deleted now; pruning will", name, exc_info=True)


def old_uploads(before: datetime) -> Iterator[tuple[str, list[str]]]:
    """Each folder of a month that had ended ``before``, with the full names of the files in it."""
    for year in _folders(UPLOADS):
        for month in _folders(f"{UPLOADS}/{year}"):
            if (int(year), int(month)) < (before.year, before.month):
                folder = f"{UPLOADS}/{year}/{month}"
                yield folder, [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]]


def _folders(parent: str) -> list[str]:
    try:
        return sorted(name for name in default_storage.listdir(parent)[0] if name.isdigit())
    except FileNotFoundError:
        return []
