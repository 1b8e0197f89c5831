import pytest


@pytest.fixture
def storage(settings, tmp_path):
    """The default storage, empty and private to the test."""
    settings.MEDIA_ROOT = tmp_path
    from django.core.files.storage import default_storage

    return default_storage
