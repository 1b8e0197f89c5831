"""The task email.send: what it accepts and what it answers."""

from uuid import uuid4

import pytest
from pydantic import ValidationError

from notifications.payloads import EmailPayload
from notifications.tasks import send
from tests.unit.notifications.conftest import Memory, Post

VALID = {"to": ["ann@example.com"], "subject": "Hi", "text": "Hello"}


class Context(Memory):
    """What the task uses of a JobContext."""

    def __init__(self) -> None:
        super().__init__()
        self.job_id = uuid4()

    def checkpoint(self) -> None:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"subject": "Zwei Kaffees für 5 € « prêt\N{NO-BREAK SPACE}! 👩‍👩‍👧"},
            id="letters, spaces and pictures of all kinds",
        ),
        pytest.param({"subject": "s" * 998}, id="longest subject"),
        pytest.param({"to": [f"a{n}@example.com" for n in range(50)]}, id="most recipients"),
        pytest.param({"text": "", "html": "<p>Hello</p>"}, id="only HTML"),
        pytest.param({"to": ["ann@bücher.example"]}, id="domain beyond ASCII"),
    ],
)
def test_a_valid_mail_is_accepted(changes):
    EmailPayload(**{**VALID, **changes})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"to": []}, "at least 1 item", id="nobody"),
        pytest.param({"to": [f"a{n}@example.com" for n in range(51)]}, "at most 50 items", id="too many"),
        pytest.param({"cc": [f"a{n}@example.com" for n in range(51)]}, "at most 50 items", id="too many copies"),
        pytest.param({"to": ["ann"]}, "not a valid email address", id="no address"),
        pytest.param({"to": ["ann@example.com\nBcc: eve@example.com"]}, "not a valid email", id="header in an address"),
        pytest.param({"cc": ["ann@example.com\r\nBcc: eve@example.com"]}, "not a valid email", id="header in a copy"),
        pytest.param({"to": ["änn@example.com"]}, "SMTPUTF8", id="mailbox beyond ASCII"),
        pytest.param({"subject": ""}, "at least 1 character", id="empty subject"),
        pytest.param({"subject": "s" * 999}, "at most 998 characters", id="long subject"),
        pytest.param({"subject": "Hi\nBcc: eve@example.com"}, "single line", id="header in the subject"),
        pytest.param({"subject": "Hi\r"}, "single line", id="carriage return"),
        pytest.param({"subject": "Hi\u2028there"}, "single line", id="Unicode line separator"),
        pytest.param({"text": " \n"}, "text or html is required", id="nothing said"),
    ],
)
def test_an_unfit_mail_is_refused_with_the_reason(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        EmailPayload(**{**VALID, **changes})


def test_every_field_of_the_form_has_a_title_and_a_description():
    for name, field in EmailPayload.model_json_schema()["properties"].items():
        assert field["title"], name
        assert field["description"], name


def test_the_result_tells_id_accepted_and_refused(serve):
    post = serve(Post(rcpt={"bob@example.com": "550 5.1.1 no such user"}))
    context = Context()

    result = send(EmailPayload(**{**VALID, "cc": ["bob@example.com"], "text": "", "html": "<p>Hello</p>"}), context)

    assert result == {
        "message_id": f"<{context.job_id}@example.com>",
        "accepted": ["ann@example.com"],
        "refused": [{"address": "bob@example.com", "reason": "550 5.1.1 no such user"}],
    }
    text, html = post.received[0][1].iter_parts()
    assert (text.get_content().strip(), html.get_content().strip()) == ("Hello", "<p>Hello</p>")
