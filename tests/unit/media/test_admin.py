"""The pages of pictures, and who may see the files."""

from uuid import uuid4

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile

from media import services
from media.models import Image
from tests.unit.media.pictures import encoded, four_corners

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    """The hashed names of style sheets are known only where `collectstatic` ran."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def image(storage) -> Image:
    storage.save("<b>cat.jpg", ContentFile(encoded(four_corners(600, 400), "JPEG")))
    return services.process("<b>cat.jpg", job_id=uuid4(), attempt=1, before_variant=lambda *told: None)


@pytest.fixture
def viewer(client):
    """A browser of somebody on the staff who may view images and nothing else."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_image"))
    client.force_login(user)
    return client


def test_the_list_shows_thumbnail_size_and_job(viewer, image):
    page = viewer.get("/admin/media/image/").content.decode()
    thumb = image.variants.get(name="thumb", format="webp")
    assert f'src="/admin/media/variant/{thumb.pk}/file/"' in page
    assert "JPEG, 600 x 400 px" in page
    assert f'href="/admin/tasks/job/{image.job_id}/change/"' in page
    assert "<b>cat" not in page


def test_the_list_costs_the_same_queries_for_many_pictures(viewer, image, django_assert_max_num_queries):
    for _ in range(5):
        services.process("<b>cat.jpg", job_id=uuid4(), attempt=1, before_variant=lambda *told: None)
    with django_assert_max_num_queries(12):
        viewer.get("/admin/media/image/")


def test_the_detail_page_shows_every_variant_and_changes_nothing(viewer, image):
    page = viewer.get(f"/admin/media/image/{image.pk}/change/").content.decode()
    for variant in image.variants.all():
        assert f'<img src="{variant.url}"' in page
    assert 'name="_save"' not in page
    assert "deletelink" not in page


@pytest.mark.parametrize("path", ["add/", "{pk}/delete/"])
def test_nobody_adds_or_deletes(admin_client, image, path):
    assert admin_client.get("/admin/media/image/" + path.format(pk=image.pk)).status_code == 403


@pytest.mark.parametrize(("format_", "extension"), [("webp", "webp"), ("jpeg", "jpg")])
def test_a_file_is_served_inline_as_what_it_is(viewer, image, format_, extension):
    response = viewer.get(image.variants.get(name="small", format=format_).url)
    assert response.status_code == 200
    assert response["Content-Type"] == f"image/{format_}"
    assert response["Content-Disposition"] == f'inline; filename="1-small.{extension}"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "private" in response["Cache-Control"]
    assert len(b"".join(response)) == image.variants.get(name="small", format=format_).size_bytes


def test_a_stranger_is_sent_to_the_login(client, image):
    response = client.get(image.variants.first().url)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_staff_without_the_permission_see_no_file(client, image):
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(image.variants.first().url).status_code == 403


def test_a_file_that_is_gone_is_not_found(viewer, image, storage):
    variant = image.variants.first()
    storage.delete(variant.file.name)
    assert viewer.get(variant.url).status_code == 404


def test_variants_have_no_pages_of_their_own(admin_client, admin_user, rf):
    request = rf.get("/admin/")
    request.user = admin_user
    (media,) = site.get_app_list(request, "media")
    assert [model["object_name"] for model in media["models"]] == ["Image"]
    assert admin_client.get("/admin/media/variant/").status_code in (302, 404)
