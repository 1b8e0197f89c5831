"""A file from an address that somebody else chose: past the guard, by the pinned address, without redirects."""

import time

import httpx

from tasks.errors import PermanentError, RetryLater, TargetRefused
from tasks.webhooks import guard, pinned

LONGEST_SECONDS = 60.0
_LATER = (408, 425, 429)


def check_url(url: str) -> str:
    """``url``, for a payload's validator. ValueError that says why nothing could be fetched from it."""
    try:
        guard.check(url)
    except TargetRefused as error:
        raise ValueError(str(error)) from None
    return url


def without_query(url: str) -> str:
    """``url`` for people and logs: a signed address has its key behind the question mark."""
    return url.partition("?")[0]


def download(url: str, *, most_bytes: int) -> bytes:
    """What ``url`` answers with, at most ``most_bytes`` within LONGEST_SECONDS.

    Raises PermanentError where it is refused, gone, redirected or too large, RetryLater for all that may pass.
    """
    shown, end = without_query(url), time.monotonic() + LONGEST_SECONDS
    try:
        with pinned.request("GET", guard.target(url), headers={"user-agent": "task-platform/1"}) as answer:
            _check(shown, answer)
            found = bytearray()
            for chunk in answer.iter_raw():
                found += chunk
                if len(found) > most_bytes:
                    raise PermanentError(f"{shown} has more than {most_bytes:,} bytes, which is the most")
                if time.monotonic() > end:
                    raise RetryLater(f"{shown} was not read within {LONGEST_SECONDS:g} s")
            return bytes(found)
    except TargetRefused as error:
        raise RetryLater(str(error)) from error  # a name server may have had a bad moment
    except httpx.HTTPError as error:
        raise RetryLater(f"{shown} can not be read: {type(error).__name__} {error}".strip()) from error


def _check(url: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise PermanentError(f"{url} answered {status}: a redirect is not followed, so give the address it leads to")
    if status in _LATER or status >= 500:
        raise RetryLater(f"{url} answered {status}")
    raise PermanentError(f"{url} answered {status}")
