from datetime import date
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile

from reports.models import Report

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    """The hashed names of style sheets are known only where `collectstatic` ran."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def report() -> Report:
    made = Report(
        job_id=uuid4(),
        dataset="orders",
        format="csv",
        since=date(2026, 11, 17),
        until=date(2026, 11, 23),
        title="Orders <b>",
        size_bytes=2_048,
        rows=12,
    )
    made.file.save("orders.csv", ContentFile(b"day,orders\r\n"))
    return made


def log_in(client, *permissions: str, is_staff: bool = True):
    user = User.objects.create_user("someone", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions, content_type__app_label="reports"))
    client.force_login(user)
    return client


def test_staff_who_may_view_reports_download_the_file(client, report):
    answer = log_in(client, "view_report").get(report.file_path)

    assert answer.status_code == 200
    assert b"".join(answer.streaming_content) == b"day,orders\r\n"
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="orders_2026-11-17_2026-11-23.csv"'


def test_staff_without_the_permission_are_refused(client, report):
    assert log_in(client).get(report.file_path).status_code == 403


@pytest.mark.parametrize("is_staff", [None, False])
def test_others_are_sent_to_the_login(client, report, is_staff):
    if is_staff is not None:
        log_in(client, "view_report", is_staff=is_staff)

    answer = client.get(report.file_path)

    assert answer.status_code == 302
    assert "/login/" in answer["Location"]


def test_a_file_gone_from_the_storage_is_not_found(client, report):
    report.file.storage.delete(report.file.name)

    assert log_in(client, "view_report").get(report.file_path).status_code == 404


def test_the_list_shows_what_there_is_to_know(client, report):
    page = log_in(client, "view_report").get("/admin/reports/report/").content.decode()

    for expected in ("Orders &lt;b&gt;", "CSV", "2026-11-17 to 2026-11-23", "2.0\xa0KB", report.file_path):
        assert expected in page


def test_the_page_of_a_report_is_for_reading(client, report):
    log_in(client, "view_report", "add_report", "change_report")

    page = client.get(f"/admin/reports/report/{report.pk}/change/")

    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert f"/admin/tasks/job/{report.job_id}/change/" in page.content.decode()
    assert client.get("/admin/reports/report/add/").status_code == 403
    assert client.get(f"/admin/reports/report/{report.pk}/delete/").status_code == 403


def test_who_may_delete_reports_can(client, report):
    log_in(client, "view_report", "delete_report")

    client.post(f"/admin/reports/report/{report.pk}/delete/", {"post": "yes"})

    assert not Report.objects.exists()
