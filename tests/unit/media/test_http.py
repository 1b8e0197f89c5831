"""/images: uploads and addresses in, variants out."""

import json
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from media import services
from media.models import Image
from tasks.models import Job
from tests.unit.media.pictures import encoded, four_corners

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage")]

PICTURE = encoded(four_corners(), "png")


def send(client: Client, content: bytes = PICTURE, name: str = "cat.png", options: object = None, **headers: str):
    fields = {"file": SimpleUploadedFile(name, content, "image/png")}
    if options is not None:
        fields["options"] = options if isinstance(options, str) else json.dumps(options)
    return client.post(
        "/api/v1/images", fields, headers={key.replace("_", "-"): value for key, value in headers.items()}
    )


def uploads(storage) -> list[str]:
    found: list[str] = []
    folders = ["uploads"] if storage.exists("uploads") else []
    while folders:
        folder = folders.pop()
        inner, names = storage.listdir(folder)
        folders += [f"{folder}/{name}" for name in inner]
        found += [f"{folder}/{name}" for name in names]
    return found


def made(owner: str, storage) -> Image:
    storage.save("cat.png", ContentFile(PICTURE))
    return services.process("cat.png", job_id=uuid4(), attempt=1, requested_by=owner, before_variant=lambda *_: None)


def test_an_upload_is_kept_and_the_job_knows_its_name(caller, storage):
    response = send(caller().client, options={"priority": "high", "metadata": {"a": 1}})

    assert response.status_code == 202, response.content
    job = Job.objects.get()
    assert response["Location"] == f"/api/v1/jobs/{job.pk}"
    assert (job.task, job.priority, job.metadata) == ("image.process", "high", {"a": 1})
    assert storage.open(job.payload["source"]).read() == PICTURE
    assert uploads(storage) == [job.payload["source"]]


def test_the_same_key_and_picture_are_the_same_job_and_keep_one_file(caller, storage):
    client = caller().client
    answers = [send(client, name=name, Idempotency_Key="k") for name in ("a.png", "b.png")]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert uploads(storage) == [Job.objects.get().payload["source"]]


def test_another_picture_with_the_key_is_refused_and_not_kept(caller, storage):
    client = caller().client
    send(client, Idempotency_Key="k")
    other = send(client, encoded(four_corners(40, 30), "png"), Idempotency_Key="k")

    assert other.status_code == 422
    assert len(uploads(storage)) == Job.objects.count() == 1


def test_an_address_is_the_jobs_to_fetch(caller):
    response = caller().post("/api/v1/images", {"url": "https://example.com/cat.png"})

    assert response.status_code == 202, response.content
    assert Job.objects.get().payload == {"source": "", "url": "https://example.com/cat.png"}


@pytest.mark.parametrize(
    "url", ["http://example.com/a.png", "https://127.1/a.png", "https://u:p@example.com/", "file:///etc/passwd", ""]
)
def test_an_address_that_nothing_may_be_fetched_from_is_refused_at_once(caller, url):
    response = caller().post("/api/v1/images", {"url": url})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].endswith("url")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ('{"priority": "urgent"}', 422),
        ('{"colour": 1}', 422),
        ("[]", 422),
        ("{", 400),
        ('{"priority": "high", "priority": "high"}', 400),
    ],
)
def test_wrong_options_are_refused_and_the_file_is_not_kept(caller, storage, options, status):
    response = send(caller().client, options=options)

    assert response.status_code == status, response.content
    assert uploads(storage) == []


@pytest.mark.parametrize("fields", [{}, {"file": "text"}, {"file": [SimpleUploadedFile("a", b"1")] * 2}])
def test_a_form_without_one_file_is_refused(caller, storage, fields):
    response = caller().client.post("/api/v1/images", fields)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "file"
    assert uploads(storage) == []


def test_an_empty_file_and_unknown_parts_are_refused(caller):
    client = caller().client
    assert send(client, b"").status_code == 422
    other = client.post("/api/v1/images", {"file": SimpleUploadedFile("a", b"1"), "colour": "red"})
    assert other.json()["errors"][0]["field"] == "colour"


def test_a_file_that_is_too_large_is_refused_by_its_announced_length(caller, settings, storage):
    settings.TASKS_MAX_UPLOAD_BYTES = 100
    assert send(caller().client).status_code == 413
    assert send(caller("b").client, PICTURE + bytes(200_000)).status_code == 413
    assert uploads(storage) == []


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"no form at all", 422),
        ("multipart/form-data; boundary=" + "x" * 300, b"x", 400),
    ],
)
def test_a_body_of_another_kind_is_refused(caller, content_type, body, status):
    response = caller().client.post("/api/v1/images", body, content_type=content_type)

    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"


def test_variants_are_listed_and_seen_by_whoever_asked(caller, storage):
    ann = caller("ann")
    image = made(ann.owner, storage)

    assert [item["id"] for item in ann.get("/api/v1/images").json()["items"]] == [str(image.pk)]
    shown = ann.get(f"/api/v1/images/{image.pk}").json()
    assert {variant["file"].rpartition("/")[2] for variant in shown["variants"]} == {
        "thumb.webp", "thumb.jpg", "small.webp", "small.jpg", "large.webp", "large.jpg",
    }  # fmt: skip
    for variant in shown["variants"]:
        response = ann.get(variant["file"])
        assert (response.status_code, response["Content-Type"]) == (200, f"image/{variant['format']}")
        assert len(b"".join(response.streaming_content)) == variant["size_bytes"]


def test_somebody_elses_picture_is_not_found(caller, storage):
    image = made("token:bob", storage)
    ann = caller("ann")

    assert ann.get("/api/v1/images").json()["items"] == []
    for address in (f"/api/v1/images/{image.pk}", f"/api/v1/images/{image.pk}/variants/thumb.jpg"):
        assert ann.get(address).status_code == 404
        assert caller("eve" + address[-1], "jobs:read", "jobs:read_all").get(address).status_code == 200
    assert ann.get(f"/api/v1/images/{image.pk}/variants/../../x").status_code == 404


def test_staff_need_the_permission_that_the_admin_asks_for(staff, storage):
    image = made("token:bob", storage)
    assert staff("view_job").get(f"/api/v1/images/{image.pk}").status_code == 403
