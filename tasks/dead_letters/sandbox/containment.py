"""What Python code may not do here: reach another machine or process, or change a file outside the sandbox.

An audit hook (PEP 578) hears of each such act before it happens, whichever library acts, and refuses it. It does not
hear libraries in C that call the system themselves, as the database's does, nor programs that a task starts: those
are told of, and not held back.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.dead_letters.sandbox.telling import tell

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = ("/dev/null", "/dev/tty", "/dev/shm")


class RehearsalRefused(PermissionError):
    """The sandbox held the task back: a rehearsal can not tell what would have happened."""


def contain(folder: Path) -> None:
    """From now on, and for good: files are changed within ``folder`` alone, and nothing is connected to."""
    root = os.path.realpath(folder)
    rules: dict[str, Callable[..., str]] = {
        "socket.connect": lambda _, address: _connection(address, root),
        "socket.sendto": lambda _, address: _connection(address, root),
        "socket.sendmsg": lambda _, address: _connection(address, root) if address else "",
        "socket.getaddrinfo": lambda host, port, *_: f"connect to {_text(host)}:{port}" if host else "",
        "socket.gethostbyname": lambda host, *_: f"connect to {_text(host)}",
        "open": lambda path, mode, flags: _change(path, root) if flags and flags & _WRITES else "",
        "sqlite3.connect": lambda path: _change(path, root) if not str(path).startswith(":memory:") and path else "",
        "os.remove": lambda path, folder=-1: _change(path, root, folder),
        "os.rmdir": lambda path, folder=-1: _change(path, root, folder),
        "os.mkdir": lambda path, mode, folder=-1: _change(path, root, folder),
        "os.truncate": lambda path, length: _change(path, root),
        "os.chmod": lambda path, mode, folder=-1: _change(path, root, folder),
        "os.chown": lambda path, user, group, folder=-1: _change(path, root, folder),
        "os.link": lambda _, path, __=-1, folder=-1: _change(path, root, folder),
        "os.symlink": lambda _, path, folder=-1: _change(path, root, folder),
        "os.rename": lambda old, new, before=-1, after=-1: _change(old, root, before) or _change(new, root, after),
        "os.kill": lambda process, number: _signal(process),
        "os.killpg": lambda group, number: _signal(group),
    }
    programs = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"}

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if rule := rules.get(event):
            if act := rule(*arguments):
                tell("refused", act=act)
                raise RehearsalRefused(f"a rehearsal does not {act}")
        elif event in programs:
            tell("program", command=_command(arguments))

    sys.addaudithook(hear)


def _connection(address: Any, root: str) -> str:
    if isinstance(address, (str, bytes)):
        return "" if _is_within(_text(address), root) else f"connect to {_text(address)}"
    return f"connect to {':'.join(map(str, address[:2]))}"


def _change(path: Any, root: str, folder: int = -1) -> str:
    if isinstance(path, int):  # it is open already, and was asked about then
        return ""
    text = _text(os.fspath(path)).removeprefix("file:").partition("?")[0]
    if folder is not None and folder >= 0:
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
    return "" if _is_within(text, root) or text.startswith(_HARMLESS) else f"change {text}"


def _is_within(path: str, root: str) -> bool:
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def _signal(process: int) -> str:
    """Its own processes are those of its session, which began with it."""
    try:
        own = process == 0 or os.getsid(process) == os.getsid(0)
    except ProcessLookupError:
        own = True
    return "" if own else f"send a signal to process {process}"


def _command(arguments: tuple[Any, ...]) -> str:
    given = arguments[1] if len(arguments) > 1 else arguments[0]
    return " ".join(map(_text, given)) if isinstance(given, (list, tuple)) else _text(given)


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)
