"""A storage whose files can be read as they are, while what is written or deleted stays in the sandbox."""

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage
from django.utils.module_loading import import_string


class OverlayStorage(FileSystemStorage):
    """What ``backend``, made with ``options``, holds, under what is written to ``location``."""

    def __init__(self, *, location: str, backend: str, options: dict[str, Any]):
        super().__init__(location=location)
        self._below = cast(Storage, import_string(backend)(**options))
        self._deleted: set[str] = set()

    def path(self, name: str) -> str:
        own = super().path(name)
        if os.path.lexists(own) or not self._is_below(name):
            return own
        try:
            return self._below.path(name)
        except NotImplementedError:  # it is no file of this machine: a copy may be read as one
            self._copy_up(name, own)
            return own

    def exists(self, name: str) -> bool:
        return os.path.lexists(super().path(name)) or self._is_below(name)

    def delete(self, name: str) -> None:
        own = super().path(name)
        if os.path.lexists(own):
            os.rmdir(own) if Path(own).is_dir() else os.remove(own)
        self._deleted.add(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        found: tuple[set[str], set[str]] = (set(), set())
        for storage in (self._below, FileSystemStorage(location=self.location)):
            try:
                listed = storage.listdir(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for names, more in zip(found, listed, strict=True):
                names.update(more)
        folders, files = found
        return sorted(folders), sorted(name for name in files if self.exists(f"{path}/{name}".strip("/")))

    def size(self, name: str) -> int:
        return super().size(name) if self._is_own(name) else self._below.size(name)

    def get_modified_time(self, name: str) -> datetime:
        return super().get_modified_time(name) if self._is_own(name) else self._below.get_modified_time(name)

    def url(self, name: str | None) -> str:
        return self._below.url(name)

    def _open(self, name: str, mode: str = "rb") -> File:
        if not self._is_own(name) and self._is_below(name):
            if set(mode) <= set("rbt"):
                return self._below.open(name, mode)
            self._copy_up(name, FileSystemStorage.path(self, name))
        return super()._open(name, mode)  # type: ignore[misc]  # Django's stubs leave it out

    def _save(self, name: str, content: File) -> str:
        saved: str = super()._save(name, content)  # type: ignore[misc]
        self._deleted.discard(saved)
        return saved

    def _is_own(self, name: str) -> bool:
        return os.path.lexists(super().path(name))

    def _is_below(self, name: str) -> bool:
        return name not in self._deleted and self._below.exists(name)

    def _copy_up(self, name: str, own: str) -> None:
        Path(own).parent.mkdir(parents=True, exist_ok=True)
        with self._below.open(name, "rb") as source, Path(own).open("wb") as target:
            shutil.copyfileobj(source, target)
