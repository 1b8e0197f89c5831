import json
import threading
from typing import Annotated, Any

import pytest
from django.db import connection
from pydantic import BaseModel

from tasks.api import IdempotencyConflict, IllegalTransition, InvalidJob, Sensitive, UnknownTask, enqueue, task
from tasks.dead_letters import editing, redirects, replaying
from tasks.dead_letters.diffing import Change
from tasks.dead_letters.masking import MASK, Mask
from tasks.errors import OwnEdit
from tasks.models import AuditEntry, DeadLetter, Job, LetterEdit
from tasks.registry import registry
from tests.unit.tasks.factories import kinds, make_job, make_letter, make_message

pytestmark = pytest.mark.django_db

ADA: dict[str, Any] = {"edited_by": "ada", "reason": "the address was wrong"}


@pytest.fixture
def needs_approval(settings):
    settings.TASKS_EDIT_APPROVAL = True


def payload_of(**values):
    return {"trace": "", "text": "", "seconds": 0.0, "failures": 0, "how": "raise", **values}


def audit() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor", "verb"))


def nothing_changed(letter: DeadLetter) -> bool:
    letter.refresh_from_db()
    dead = letter.job is None or Job.objects.get(pk=letter.job_id).state == "dead"
    return letter.state == "open" and dead and not LetterEdit.objects.exists() and not AuditEntry.objects.exists()


# Payloads


def test_an_edit_replaces_the_payload_and_replays_the_job(outbox, django_capture_on_commit_callbacks):
    letter = make_letter(payload=payload_of(text="befor"))
    with django_capture_on_commit_callbacks(execute=True):
        edit = editing.propose(letter.pk, {"text": "after"}, **ADA)
    job = Job.objects.get()
    assert (edit.state, edit.job_id, edit.decided_by) == ("applied", job.pk, "")
    assert (job.state, job.payload) == ("queued", payload_of(text="after"))
    assert job.events.get(kind="replayed").detail == {"requested_by": "ada", "edit": str(edit.pk)}
    assert [message.attempt for message in outbox] == [4]
    assert audit() == [("ada", "dead_letters.edit")]
    entry = AuditEntry.objects.get()
    assert (entry.reason, entry.detail["fields"]) == ("the address was wrong", ["text"])


def test_the_letter_keeps_what_there_was(outbox):
    letter = make_letter(payload=payload_of(text="before"))
    editing.propose(letter.pk, {"text": "after"}, **ADA)
    letter.refresh_from_db()
    assert (letter.state, letter.payload, letter.task) == ("replayed", payload_of(text="before"), "probe.echo")
    assert letter.edits.get().payload == payload_of(text="after")


@pytest.mark.parametrize(
    ("payload", "values", "fields"),
    [
        ({"seconds": "long", "failures": "many"}, {}, {"payload.seconds", "payload.failures"}),
        ({"seconds": "long"}, {"queue": "no-queue", "reason": " "}, {"payload.seconds", "queue", "reason"}),
        ({}, {"task": "no.task", "queue": "no-queue"}, {"task", "queue"}),
        ({}, {"edited_by": "", "reason": "x" * 501}, {"edited_by", "reason"}),
        ("text", {}, {"payload"}),
        ({"text": "\0"}, {}, {"payload"}),
    ],
)
def test_a_wrong_edit_names_every_fault_and_stores_nothing(payload, values, fields):
    letter = make_letter()
    with pytest.raises(InvalidJob) as caught:
        editing.propose(letter.pk, payload, **{**ADA, **values})
    assert {problem["field"] for problem in caught.value.problems} == fields
    assert nothing_changed(letter)


def test_a_job_of_an_unknown_task_is_edited_to_another(outbox):
    letter = make_letter(task="gone.task", payload={"words": "x"}, reason="unknown_task")
    with pytest.raises(UnknownTask):
        editing.propose(letter.pk, {"text": "x"}, **ADA)
    assert nothing_changed(letter)
    edit = editing.propose(letter.pk, {"text": "x"}, task="probe.nap", queue="sms-queue", **ADA)
    job = Job.objects.get()
    assert (job.task, job.queue, job.payload["text"]) == ("probe.nap", "sms-queue", "x")
    assert edit.task == "probe.nap"


def test_an_edit_follows_a_standing_redirect(outbox):
    redirects.add(from_task="old.name", to_task="probe.echo", requested_by="ada", reason="renamed")
    letter = make_letter(task="old.name")
    assert editing.propose(letter.pk, {"text": "x"}, **ADA).task == "probe.echo"
    assert Job.objects.get().task == "probe.echo"


def test_what_is_open_no_more_is_not_edited(outbox):
    letter = make_letter()
    replaying.replay(letter.pk)
    with pytest.raises(IllegalTransition, match="replayed, not open"):
        editing.propose(letter.pk, {}, **ADA)
    message = make_message(b"x")
    with pytest.raises(IllegalTransition, match="repair its text"):
        editing.propose(message.pk, {}, **ADA)
    running = DeadLetter.objects.create(job=make_job("running"), reason="exhausted", queue="work-queue")
    with pytest.raises(IllegalTransition, match="job is running"):
        editing.propose(running.pk, {}, **ADA)
    assert not LetterEdit.objects.exists()


# Approval


def test_with_approval_nothing_moves_until_a_second_person_agrees(outbox, needs_approval):
    letter = make_letter()
    edit = editing.propose(letter.pk, {"text": "after"}, **ADA)
    assert (edit.state, Job.objects.get().state) == ("proposed", "dead")
    edit = editing.approve(edit.pk, approved_by="bob")
    job = Job.objects.get()
    assert (edit.state, edit.decided_by, edit.job_id) == ("applied", "bob", job.pk)
    assert (job.state, job.payload["text"]) == ("queued", "after")
    detail = {"requested_by": "ada", "edit": str(edit.pk), "approved_by": "bob"}
    assert job.events.get(kind="replayed").detail == detail
    assert audit() == [("ada", "dead_letters.edit"), ("bob", "dead_letters.approve")]


@pytest.mark.parametrize("name", ["ada", "Ada", " ADA "])
def test_the_editor_does_not_approve(needs_approval, name):
    edit = editing.propose(make_letter().pk, {}, **ADA)
    with pytest.raises(OwnEdit, match="a second person"):
        editing.approve(edit.pk, approved_by=name)
    edit.refresh_from_db()
    assert (edit.state, Job.objects.get().state, len(audit())) == ("proposed", "dead", 1)


def test_nobody_does_not_decide(needs_approval):
    edit = editing.propose(make_letter().pk, {}, **ADA)
    with pytest.raises(InvalidJob, match="approved_by"):
        editing.approve(edit.pk, approved_by=" ")
    with pytest.raises(InvalidJob, match="rejected_by"):
        editing.reject(edit.pk, rejected_by="")


def test_a_rejected_edit_changes_nothing_and_is_decided(outbox, needs_approval):
    letter = make_letter()
    edit = editing.propose(letter.pk, {}, **ADA)
    edit = editing.reject(edit.pk, rejected_by="bob", reason="no")
    letter.refresh_from_db()
    assert (edit.state, edit.decided_by, letter.state, Job.objects.get().state) == ("rejected", "bob", "open", "dead")
    assert audit()[-1] == ("bob", "dead_letters.reject")
    for decide in (
        lambda: editing.approve(edit.pk, approved_by="eve"),
        lambda: editing.reject(edit.pk, rejected_by="eve"),
    ):
        with pytest.raises(IllegalTransition, match="rejected by bob already"):
            decide()


def test_one_edit_waits_at_a_time_and_its_editor_may_take_it_back(needs_approval):
    letter = make_letter()
    first = editing.propose(letter.pk, {"text": "1"}, **ADA)
    with pytest.raises(IllegalTransition, match="by ada waits for approval"):
        editing.propose(letter.pk, {"text": "2"}, edited_by="bob", reason="x")
    editing.reject(first.pk, rejected_by="ada")
    assert editing.propose(letter.pk, {"text": "2"}, edited_by="bob", reason="x").state == "proposed"


def test_an_approval_that_comes_too_late_says_so(outbox, needs_approval):
    letter = make_letter()
    edit = editing.propose(letter.pk, {}, **ADA)
    replaying.replay(letter.pk)
    with pytest.raises(IllegalTransition, match="replayed, not open"):
        editing.approve(edit.pk, approved_by="bob")
    edit.refresh_from_db()
    assert edit.state == "proposed"


def test_an_approved_edit_must_still_fit_the_task(outbox, needs_approval):
    letter = make_letter()
    edit = editing.propose(letter.pk, {"text": "x"}, **ADA)
    LetterEdit.objects.update(payload={"seconds": "long"})
    with pytest.raises(InvalidJob, match=r"payload\.seconds"):
        editing.approve(edit.pk, approved_by="bob")
    edit.refresh_from_db()
    assert (edit.state, Job.objects.get().state) == ("proposed", "dead")


# Differences


def mask(task: str, payload: Any) -> Any:
    """As masking does, with one sensitive field of one task."""
    return {**payload, "text": "***"} if task == "probe.echo" and "text" in payload else payload


def test_a_diff_lists_the_fields_that_changed(outbox):
    letter = make_letter(payload=payload_of(text="before", failures=1))
    edit = editing.propose(letter.pk, payload_of(text="after", failures=1), **ADA)
    assert editing.diff(edit, mask=None) == [Change(("text",), "before", "after")]
    assert editing.diff(edit, mask=mask) == [Change(("text",), "***", "***")]


def test_a_diff_still_begins_from_the_payload_that_died(outbox):
    letter = make_letter(payload=payload_of(text="one"))
    DeadLetter.objects.update(payload=None)  # it died before letters kept it
    edit = editing.propose(letter.pk, payload_of(text="two"), **ADA)
    assert editing.diff(LetterEdit.objects.get(pk=edit.pk), mask=None) == [Change(("text",), "one", "two")]


# Messages


def test_a_broken_message_is_repaired_as_text_and_becomes_a_job(outbox, django_capture_on_commit_callbacks):
    letter = make_message(b'{"type": "probe.echo", "data": {"text": "x"}, "id": "m-1",}')
    text = editing.text_of(letter)
    with django_capture_on_commit_callbacks(execute=True):
        edit = editing.repair(letter.pk, text.replace(",}", ', "correlationId": "c", "priority": "high"}'), **ADA)
    letter.refresh_from_db()
    job = Job.objects.get()
    assert (edit.state, edit.job_id, edit.task) == ("applied", job.pk, "probe.echo")
    assert (letter.state, letter.replayed_by, bytes(letter.body)) == ("replayed", "ada", text.encode())
    assert (job.state, job.queue, job.priority, job.correlation_id) == ("queued", "priority-queue", "high", "c")
    assert (job.idempotency_key, job.payload["text"], kinds(job)) == ("m-1", "x", ["queued"])
    assert job.metadata == {"dead_letter": str(letter.pk), "edit": str(edit.pk)}
    assert len(outbox) == 1
    assert audit() == [("ada", "dead_letters.edit")]


@pytest.mark.parametrize(
    ("text", "values", "fields"),
    [
        ("{", {}, {"text"}),
        ("[1]", {}, {"text"}),
        ("{}", {}, {"type"}),
        ('{"type": "probe.echo", "data": {"seconds": "x"}}', {"queue": "no"}, {"queue", "data.seconds"}),
        ('{"type": "probe.echo"}', {"reason": ""}, {"reason"}),
        ('{"type": "probe.echo"}', {"task": "no.task"}, {"task"}),
    ],
)
def test_a_wrong_repair_names_every_fault_and_stores_nothing(text, values, fields):
    letter = make_message(b"\xff")
    with pytest.raises(InvalidJob) as caught:
        editing.repair(letter.pk, text, **{**ADA, **values})
    assert {problem["field"] for problem in caught.value.problems} == fields
    assert nothing_changed(letter)
    assert not Job.objects.exists()


def test_who_repairs_may_name_task_and_queue_beside_the_text(outbox):
    letter = make_message(b"\xff")
    editing.repair(letter.pk, '{"type": "gone", "data": {"text": "x"}}', task="probe.nap", queue="sms-queue", **ADA)
    job = Job.objects.get()
    assert (job.task, job.queue) == ("probe.nap", "sms-queue")


def test_a_repaired_message_waits_for_approval_too(outbox, needs_approval):
    letter = make_message(b"\xff")
    edit = editing.repair(letter.pk, '{"type": "probe.echo", "data": {"text": "x"}}', **ADA)
    assert not Job.objects.exists()
    with pytest.raises(OwnEdit):
        editing.approve(edit.pk, approved_by="ada")
    assert editing.approve(edit.pk, approved_by="bob").job == Job.objects.get()
    assert Job.objects.get().metadata["approved_by"] == "bob"


def test_an_id_that_is_known_leads_to_its_job(outbox):
    known = enqueue("probe.echo", {"text": "x"}, idempotency_key="m-1")
    letter, other = make_message(b"\xff"), make_message(b"\xfe")
    edit = editing.repair(letter.pk, '{"type": "probe.echo", "data": {"text": "x"}, "id": "m-1"}', **ADA)
    assert edit.job == known
    with pytest.raises(IdempotencyConflict):
        editing.repair(other.pk, '{"type": "probe.echo", "data": {"text": "y"}, "id": "m-1"}', **ADA)
    other.refresh_from_db()
    assert (other.state, LetterEdit.objects.count(), Job.objects.count()) == ("open", 1, 1)


def test_a_letter_with_a_job_is_not_repaired_as_text():
    with pytest.raises(IllegalTransition, match="edit its payload"):
        editing.repair(make_letter().pk, "{}", **ADA)


def test_a_diff_of_a_message_is_by_field_where_it_was_an_object(outbox):
    sound = make_message(b'{"type": "gone", "data": {"text": "x"}}', reason="unknown_task")
    edit = editing.repair(sound.pk, '{"type": "probe.echo", "data": {"text": "y"}}', **ADA)
    assert [change.field for change in editing.diff(edit, mask=None)] == ["type", "data.text"]
    hidden = editing.diff(edit, mask=mask)
    assert hidden[1] == Change(("data", "text"), "***", "***")
    broken = make_message(b"{secret")
    edit = editing.repair(broken.pk, '{"type": "probe.echo", "data": {"text": "y"}}', **ADA)
    (change,) = editing.diff(edit, mask=None)
    assert (change.field, change.before, change.after) == ("", "{secret", edit.payload)
    (change,) = editing.diff(edit, mask=mask)
    assert change.before == "(7 characters that have no fields)"
    assert change.after["data"] == {"text": "***"}


def test_what_one_of_two_tasks_keeps_secret_is_masked_on_both_sides(outbox):
    letter = make_letter(payload=payload_of(text="before"))
    edit = editing.propose(letter.pk, payload_of(text="after"), task="probe.nap", **ADA)
    assert editing.diff(edit, mask=mask) == [Change(("text",), "***", "***")]


# Several at once


@pytest.mark.django_db(transaction=True)
def test_of_many_who_decide_at_once_one_does(outbox, settings):
    settings.TASKS_EDIT_APPROVAL = True
    edit = editing.propose(make_letter().pk, {"text": "x"}, **ADA)
    together, decided = threading.Barrier(4), []

    def decide(name: str) -> None:
        together.wait()
        try:
            if name == "cem":
                decided.append(editing.reject(edit.pk, rejected_by=name).decided_by)
            else:
                decided.append(editing.approve(edit.pk, approved_by=name).decided_by)
        except (IllegalTransition, InvalidJob):
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=[name]) for name in ("ada", "bob", "cem", "dan")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    edit.refresh_from_db()
    assert decided == [edit.decided_by]
    assert edit.decided_by != "ada"
    assert Job.objects.get().state == ("queued" if edit.state == "applied" else "dead")
    assert len(audit()) == 2


# What is masked


@pytest.fixture
def signing_in(monkeypatch):
    """Two tasks with a card; the second would show it."""
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))

    class Hiding(BaseModel):
        user: str
        card: Annotated[str, Sensitive()]
        keys: list[dict[str, str]] = []

    class Showing(BaseModel):
        user: str
        card: str

    task("case.hiding", payload=Hiding)(lambda payload, context: None)
    task("case.showing", payload=Showing)(lambda payload, context: None)


@pytest.fixture
def secret(signing_in):
    return make_letter(task="case.hiding", payload={"user": "an", "card": "4111", "keys": [{"token": "t-1"}]})


def masked(letter):
    return editing.shown(letter, mask=Mask().payload)


def test_an_editor_who_may_not_unmask_sees_masks_and_keeps_what_is_behind_them(secret, outbox):
    seen = masked(secret)
    assert seen == {"user": "an", "card": MASK, "keys": [{"token": MASK}]}
    assert editing.shown(secret, mask=None) == secret.payload
    edit = editing.propose(secret.pk, {**seen, "user": "ann"}, **ADA)
    assert edit.payload == {"user": "ann", "card": "4111", "keys": [{"token": "t-1"}]}
    assert [change.field for change in editing.diff(edit, mask=None)] == ["user"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"user": MASK, "card": "4111"}, "payload.user"),
        ({"user": "ann", "card": f"{MASK}1"}, "payload.card"),
        ({"user": "ann", "card": "1", "keys": [{"token": MASK}, {"token": "t-2"}]}, "payload.keys.0.token"),
    ],
)
def test_a_mask_is_never_written_into_a_payload(secret, payload, field):
    with pytest.raises(InvalidJob) as caught:
        editing.propose(secret.pk, payload, **ADA)
    assert [problem["field"] for problem in caught.value.problems] == [field]
    assert nothing_changed(secret)


def test_what_nobody_saw_is_not_handed_to_a_task_that_shows_it(secret):
    with pytest.raises(InvalidJob, match=r"case\.showing would not mask it"):
        editing.propose(secret.pk, masked(secret), task="case.showing", **ADA)
    assert nothing_changed(secret)


def test_a_draft_stores_nothing_and_is_what_would_be_stored(secret, outbox):
    seen = {**masked(secret), "user": "ann"}
    drafted = editing.draft(secret.pk, seen, queue="sms-queue", **ADA)
    assert nothing_changed(secret)
    edit = editing.propose(secret.pk, seen, queue="sms-queue", **ADA)
    for name in ("task", "queue", "payload", "edited_by", "reason"):
        assert getattr(drafted, name) == getattr(edit, name)
    assert editing.diff(drafted, mask=None) == editing.diff(edit, mask=None)


def test_a_message_is_masked_by_the_task_that_it_names(signing_in, outbox):
    message = {"type": "case.hiding", "data": {"user": "an", "card": "4111"}, "password": "p"}
    letter = make_message(json.dumps(message).encode())
    assert masked(letter) == {**message, "data": {"user": "an", "card": MASK}, "password": MASK}
    text = editing.shown_text(letter, mask=Mask().payload)
    assert json.loads(text) == masked(letter)
    repaired = {**json.loads(text), "data": {"user": "ann", "card": MASK}}
    del repaired["password"]
    edit = editing.repair(letter.pk, json.dumps(repaired), **ADA)
    assert edit.payload == {"type": "case.hiding", "data": {"user": "ann", "card": "4111"}}
    assert Job.objects.get().payload["card"] == "4111"


def test_text_that_nobody_can_mask_is_hidden_as_a_whole():
    letter = make_message(b'{"password": "p"')
    assert masked(letter) == MASK
    assert editing.shown_text(letter, mask=Mask().payload) == ""
    assert editing.shown_text(letter, mask=None) == '{"password": "p"'


def test_text_with_nothing_to_hide_is_shown_as_it_came():
    text = '{"type":  "probe.echo"}'
    assert editing.shown_text(make_message(text.encode()), mask=Mask().payload) == text


def test_a_draft_of_a_repair_stores_nothing(outbox):
    letter = make_message(b"{")
    drafted = editing.draft_repair(letter.pk, '{"type": "probe.echo"}', **ADA)
    assert (drafted.task, drafted.payload) == ("probe.echo", {"type": "probe.echo"})
    assert nothing_changed(letter)


def test_nothing_is_drafted_beside_an_edit_that_waits(needs_approval):
    letter = make_letter()
    editing.propose(letter.pk, {}, **ADA)
    with pytest.raises(IllegalTransition, match="an edit by ada waits"):
        editing.draft(letter.pk, {}, **ADA)
