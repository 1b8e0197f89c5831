"""What was made of an upload."""

from django.db import models
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7


class Image(models.Model):
    """One uploaded picture that was turned into variants. Width and height are as shown, EXIF's turn included."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job_id = models.UUIDField("job", unique=True)
    requested_by = models.CharField(max_length=200, blank=True, help_text="Who asked for the job.")
    attempt = models.PositiveIntegerField(help_text="The attempt of the job that made the variants.")
    source = models.CharField(max_length=500, help_text="Name of the uploaded file in the default storage, or its URL.")
    format = models.CharField(max_length=10)
    width_px = models.PositiveIntegerField("width (px)")
    height_px = models.PositiveIntegerField("height (px)")
    size_bytes = models.PositiveBigIntegerField("size (bytes)")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["requested_by", "id"], name="image_by_owner")]

    def __str__(self) -> str:
        return self.source.rpartition("/")[2]


class Variant(models.Model):
    """One smaller picture, stored."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="variants")
    name = models.CharField(max_length=50)
    format = models.CharField(max_length=10)
    file = models.FileField(upload_to="images/%Y/%m/", max_length=200)
    width_px = models.PositiveIntegerField("width (px)")
    height_px = models.PositiveIntegerField("height (px)")
    size_bytes = models.PositiveBigIntegerField("size (bytes)")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["image", "name", "format"], name="variant_is_made_once")]

    def __str__(self) -> str:
        return f"{self.name}, {self.format}"

    @property
    def address(self) -> str:
        """Where whoever asked for the job sees it, by the HTTP API."""
        suffix = "jpg" if self.format == "jpeg" else self.format
        return f"/api/v1/images/{self.image_id}/variants/{self.name}.{suffix}"

    @property
    def url(self) -> str:
        """Where staff see it; the file itself is not public."""
        return reverse("admin:media_variant_file", args=[self.pk])
