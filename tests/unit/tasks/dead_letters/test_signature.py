import time
import traceback as tracebacks

import pytest

from tasks.dead_letters.signature import MAX_MESSAGE_CHARS, innermost_own_frame, normalised, signature_of

ROOT = "/srv/shop"


@pytest.mark.parametrize(
    ("error", "same"),
    [
        ("order 4711 not found", "order <number> not found"),
        ("order -1 of 1,024.50 €", "order <number> of <number> €"),
        ("job 019ab3c4-7d5e-7f10-8a2b-3c4d5e6f7a8b is gone", "job <uuid> is gone"),
        ("digest D41D8CD98F00B204E9800998ECF8427E differs", "digest <uuid> differs"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
        ("<Order object at 0x7f3a2c10>", "<Order object at <hex>>"),
        ("no template 'mails/welcome.html'", "no template <text>"),
        ('relation "shop_order" does not exist', "relation <text> does not exist"),
        ("invalid literal: b'\\xff'", "invalid literal: <text>"),
        ("can't reach it, won't try", "can't reach it, won't try"),
        ("No such file or directory: /var/lib/shop/7/a.pdf", "No such file or directory: <path>"),
        ("cannot open uploads/2026/cat.png", "cannot open <path>"),
        ("C:\\Temp\\x.txt is locked", "<path> is locked"),
        ("read and/or write", "read and/or write"),
        ("at 2026-03-01T12:30:00.123Z it stopped", "at <time> it stopped"),
        ("not begun by Sun Mar  1 12:30:00 2026 UTC", "not begun by <time> UTC"),
        ("window 09:00 to 17:30:15", "window <time> to <time>"),
        ("connect to 10.0.0.7:5432 failed", "connect to <address> failed"),
        ("connect to fe80:0:0:1::7 failed", "connect to <address> failed"),
        ("GET https://api.test/v1/orders/7?x=y: 503", "GET <url>: <number>"),
        ("mailbox ann@example.org is full", "mailbox <address> is full"),
        ("attempt 3 on celery@mail-7: its worker went", "attempt <number> on <address>: its worker went"),
        ("Key (email)=(Ann O'Neil) already exists.", "Key (email)=(<text>) already exists."),
        ("rows 1, 2, 3 and 4 are bad", "rows <number>… and <number> are bad"),
        ("two\n  lines\tof it", "two lines of it"),
        ("", ""),
    ],
)
def test_what_differs_from_one_failure_to_the_next_is_left_out(error, same):
    assert normalised(error) == same


def test_lists_of_any_length_are_the_same_failure():
    assert normalised("bad ids: " + ", ".join(map(str, range(900)))) == normalised("bad ids: 7, 8")


@pytest.mark.parametrize("error", ["a" * 10_000, "a/" * 5_000, "'" * 10_000, "1:" * 5_000, "0" * 10_000, "a@" * 5_000])
def test_no_error_text_takes_long_to_read(error):
    began = time.process_time()
    assert len(normalised(error)) <= MAX_MESSAGE_CHARS
    assert time.process_time() - began < 2  # what grows with the square of the length takes far longer


def frames(*lines: str) -> str:
    pairs = [line.rsplit(" ", 1) for line in lines]
    told = "\n".join(f'  File "{path}", line 7, in {function}\n    x()' for path, function in pairs)
    return f"Traceback (most recent call last):\n{told}\nValueError: no\n"


@pytest.mark.parametrize(
    ("lines", "frame"),
    [
        (["/srv/shop/tasks/worker/execution.py run", "/srv/shop/orders/mail.py send"], "orders/mail.py send"),
        (["/srv/shop/orders/mail.py send", "/usr/lib/python3.12/smtplib.py connect"], "orders/mail.py send"),
        (["/srv/shop/orders/mail.py send", "/srv/shop/.venv/site-packages/x/y.py z"], "orders/mail.py send"),
        (["/srv/shop/orders/mail.py send", "<frozen importlib._bootstrap> _load"], "orders/mail.py send"),
        (["/srv/shop/orders/mail.py send", "/srv/shop/tasks/context.py once"], "orders/mail.py send"),
        (["/srv/shop/tasks/worker/execution.py run"], ""),
        (["/opt/ours/lib.py go"], "/opt/ours/lib.py go"),
        ([], ""),
    ],
)  # fmt: skip
def test_the_frame_is_the_innermost_of_our_own_code(lines, frame):
    assert innermost_own_frame(frames(*lines), ROOT) == frame


def test_the_frame_of_a_chained_error_is_where_the_last_one_was_raised():
    chained = (
        frames("/srv/shop/a.py inner")
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + frames("/srv/shop/b.py outer")
    )
    assert innermost_own_frame(chained, ROOT) == "b.py outer"


def test_a_traceback_as_python_writes_it_is_read():
    try:
        int("x")
    except ValueError as error:
        text = "".join(tracebacks.format_exception(error))
    own = innermost_own_frame(text, __file__.removesuffix("/test_signature.py"))
    assert own == "test_signature.py test_a_traceback_as_python_writes_it_is_read"


def signed(**values: str):
    letter = {
        "task": "orders.mail",
        "reason": "exhausted",
        "error_type": "ValueError",
        "error": "order 1",
        "traceback": frames("/srv/shop/orders/mail.py send"),
    }
    return signature_of(**{**letter, **values}, root=ROOT)


def test_the_same_failure_of_two_jobs_is_one_group():
    moved = frames("/srv/shop/orders/mail.py send").replace("line 7", "line 9")
    assert signed(error="order 2", reason="permanent", traceback=moved).group_id == signed().group_id


@pytest.mark.parametrize(
    "values",
    [
        {"task": "orders.print"},
        {"error_type": "KeyError"},
        {"error": "no order"},
        {"traceback": frames("/srv/shop/orders/mail.py render")},
        {"error_type": "", "reason": "expired"},
    ],
)
def test_another_failure_is_another_group(values):
    assert signed(**values).group_id != signed().group_id


def test_the_group_of_a_failure_never_changes():
    assert str(signed().group_id) == "8ea49ca8-73e8-5cd3-8ff0-deb1341c000c"
