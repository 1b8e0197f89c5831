"""Which of two builds is the later one. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime

from packaging.version import InvalidVersion, Version

# A commit may be all letters and digits, and read as a version as well: 12345a7.
_LOOKS_LIKE_A_VERSION = re.compile(r"v?\d+(\.\d+.*)?", re.IGNORECASE)


def is_at_least(release: str, wanted: str, first_seen: Mapping[str, datetime]) -> bool:
    """Whether ``release`` is ``wanted`` or a later build.

    Versions are compared as PEP 440 has it, which reads semantic versions too; if either is none, by when each was
    first seen. What was never seen, or bears no release, is later than nothing.
    """
    if not release or not wanted:
        return False
    if release == wanted:
        return True
    left, right = _version(release), _version(wanted)
    if left and right:
        return left >= right
    return release in first_seen and wanted in first_seen and first_seen[release] > first_seen[wanted]


def _version(release: str) -> Version | None:
    if not _LOOKS_LIKE_A_VERSION.fullmatch(release):
        return None
    try:
        return Version(release)
    except InvalidVersion:
        return None
