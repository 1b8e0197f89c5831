"""What operators read: durations, moments, histories and evidence in plain words. Pure functions, no markup."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.dateparse import parse_datetime

from tasks.models import DeadLetter, Job, JobEvent, error_summary
from tasks.registry import registry

MAX_SHOWN_CHARS = 20_000
MAX_SHOWN_BYTES = 4096
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_STEERS_TERMINALS = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


def duration(seconds: float) -> str:
    """`340 ms`, `2.1 s`, `42 s`, `3 min 5 s`, `2 h 10 min`: two units at most."""
    if seconds < 0:
        return "0 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (size, unit), (smaller, smaller_unit) in zip(_UNITS, (*_UNITS[1:], (1, "s")), strict=True):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{whole} s"


def relative(moment: datetime, now: datetime) -> str:
    """`just now`, `5 min ago`, `in 2 h`: one unit, since the exact moment stands beside it."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 1:
        return "just now"
    for size, unit in _UNITS:
        if distance >= size * 0.995:  # "in 2 h" a moment after it was asked for
            text = f"{round(distance / size)} {unit}"
            break
    else:
        text = f"{distance:.0f} s"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def error_line(error_type: str, error: str) -> str:
    """Type and first line of an error; what the platform itself buried has no type."""
    return error_summary(error_type, error)


def task_title(name: str) -> str:
    """The registered title of a task, or its name where this build does not know it."""
    return registry.get(name).title if name in registry else name


def attempts(job: Job) -> str:
    """`2 of 5` by the task's policy; after a replay the count begins anew. Only the number for an unknown task."""
    since_replay = job.attempt - job.attempt_base
    if job.task not in registry:
        return str(job.attempt)
    text = f"{since_replay} of {registry.get(job.task).retry.max_attempts}"
    return f"{text} (number {job.attempt})" if job.attempt_base else text


def pretty(value: Any) -> str:
    """``value`` as indented JSON, cut where it is too long to read."""
    return shortened(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def shortened(text: str) -> str:
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    return f"{text[:MAX_SHOWN_CHARS]}\n… {len(text) - MAX_SHOWN_CHARS:,} more characters"


def links_in(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(what, address) of every "url" in a result. Only addresses a browser may be sent to: this site's, and http(s)."""
    if isinstance(value, dict):
        for key, item in value.items():
            is_link = key == "url" or key.endswith("_url")
            if is_link and isinstance(item, str) and _is_web_address(item):
                what = name if key == "url" else key.removesuffix("_url")
                if value.get("format"):  # the same picture as WebP and as JPEG
                    what = f"{what} ({value['format']})".strip()
                yield what.replace("_", " ") or "Open", item
            else:
                yield from links_in(item, key)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            label = item.get("name") if isinstance(item, dict) else None
            yield from links_in(item, str(label) if label else f"{name} {number}".strip())


def _is_web_address(text: str) -> bool:
    return text.startswith(("http://", "https://")) or (text.startswith("/") and not text.startswith(("//", "/\\")))


def event(event: JobEvent) -> str:
    """What the event adds to its kind: who, where, why; "" when the kind says it all."""
    detail = dict(event.detail or {})
    parts = []
    if (worker := detail.pop("worker", "")) and event.kind == JobEvent.Kind.DUPLICATE:
        parts.append(f"a second delivery reached {worker}")
    elif worker:
        parts.append(f"on {worker}")
    if who := detail.pop("requested_by", ""):
        parts.append(f"by {who}")
    if reason := detail.pop("reason", ""):
        parts.append(str(dict(DeadLetter.Reason.choices).get(reason, reason)).lower())
    if error := detail.pop("error", ""):
        parts.append(str(error))
    if (seconds := detail.pop("delay_seconds", None)) is not None:
        parts.append(f"next attempt after {duration(seconds)}")
    if detail.pop("redelivered", False):
        parts.append("delivered again by the broker")
    if why := detail.pop("why", ""):
        parts.append(str(why))
    if seen := evidence(detail.pop("evidence", None) or {}):
        parts.append(", ".join(f"{name.lower()} {value}" for name, value in seen))
    if outcome := detail.pop("outcome", ""):
        parts.append(f"its outcome did not count: {outcome}")
    parts += [f"{name.replace('_', ' ')}: {value}" for name, value in detail.items() if value not in ("", None)]
    return "; ".join(parts)


_EVIDENCE = {
    "signal": "Signal",
    "exit_code": "Exit code",
    "peak_memory_bytes": "Peak memory",
    "kernel_out_of_memory_kills": "Kernel's memory killer",
    "process_id": "Process",
    "worker": "Worker",
    "host": "Host",
    "last_sign_of_life": "Last sign of life",
}


def evidence(seen: dict[str, Any]) -> list[tuple[str, str]]:
    """What a worker saw of a process that did not come back, without its log lines: (name, value)."""
    shown = dict(seen)
    if size := shown.get("peak_memory_bytes"):
        shown["peak_memory_bytes"] = filesizeformat(size).replace("\xa0", " ")
    if kills := shown.get("kernel_out_of_memory_kills"):
        shown["kernel_out_of_memory_kills"] = "struck" if kills == 1 else f"struck {kills} times"
    if at := parse_datetime(str(shown.get("last_sign_of_life", ""))):
        shown["last_sign_of_life"] = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return [(name, str(shown[key])) for key, name in _EVIDENCE.items() if key in shown]


def deaths(letter: DeadLetter) -> list[str]:
    """The broker's x-death, newest first, one sentence each."""
    found = (letter.properties or {}).get("deaths") or []
    return [_death(death) for death in found if isinstance(death, dict)]


def _death(death: dict[str, Any]) -> str:
    reason = str(death.get("reason") or "given up").replace("_", " ")
    count = death.get("count") or 1
    times = "once" if count == 1 else f"{count} times"
    at = parse_datetime(str(death["time"])) if death.get("time") else None
    when = f"{' at' if count == 1 else ', last at'} {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
    keys = ", ".join(map(str, death.get("routing-keys") or []))
    sent = f"; sent to {death.get('exchange') or 'the default exchange'} with key {keys or 'none'}"
    return f"{reason.capitalize()} by {death.get('queue', 'a queue')} {times}{when}{sent}"


def body(raw: bytes) -> tuple[str, str]:
    """(how it is shown, the text): UTF-8 as it is, JSON indented, anything else as a hex dump. Only the beginning."""
    is_cut = len(raw) > MAX_SHOWN_BYTES
    cut = f", first {MAX_SHOWN_BYTES:,} of {len(raw):,} bytes" if is_cut else f", {len(raw):,} bytes"
    shown = raw[:MAX_SHOWN_BYTES]
    try:
        # a cut may split a character: up to three bytes of it are left out
        text = _decode_cut(shown) if is_cut else shown.decode()
    except UnicodeDecodeError:
        return f"hex dump{cut}", hexdump(shown)
    if any(ord(char) < 32 and char not in "\t\r\n" for char in text):
        return f"hex dump{cut}", hexdump(shown)
    try:
        return f"JSON{cut}", pretty(json.loads(text))
    except (ValueError, RecursionError):
        return f"text{cut}", text


def _decode_cut(shown: bytes) -> str:
    for end in range(len(shown), len(shown) - 4, -1):
        try:
            return shown[:end].decode()
        except UnicodeDecodeError as error:
            if error.start < len(shown) - 4:
                raise
    return shown.decode()


def printable(text: str) -> str:
    """``text`` for a terminal, which would obey what a foreign message or an error may hold: colours, other titles,
    lines that cover the ones above, words in the opposite order. They stand as \\uNNNN, so JSON stays the same JSON."""
    return _STEERS_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def hexdump(raw: bytes) -> str:
    """Sixteen bytes a line: offset, hex, what of it can be printed."""
    lines = []
    for offset in range(0, len(raw), 16):
        chunk = raw[offset : offset + 16]
        printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
        lines.append(f"{offset:08x}  {chunk.hex(' '):<47}  {printable}")
    return "\n".join(lines)
