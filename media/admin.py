"""Pictures to look at, and the only way to their files."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.cache import patch_cache_control
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from media.models import Image, Variant

THUMBNAIL = "thumb"
THUMBNAIL_HEIGHT_PX = 48
BROWSER_CACHE_SECONDS = 300


class ReadOnly(ModelAdmin):
    """Work makes these rows, people only look."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Image)
class ImageAdmin(ReadOnly):
    list_display = ["thumbnail", "source", "original", "variant_count", "job", "created_at"]
    list_display_links = ["thumbnail", "source"]
    list_filter = ["format"]
    list_per_page = 50
    search_fields = ["source", "job_id"]
    date_hierarchy = "created_at"
    fields = ["source", "original", "job", "attempt", "created_at", "pictures"]

    def get_queryset(self, request: HttpRequest):
        return super().get_queryset(request).prefetch_related("variants")

    @admin.display(description="picture")
    def thumbnail(self, image: Image) -> SafeString | str:
        thumbs = [variant for variant in image.variants.all() if variant.name == THUMBNAIL]
        if not thumbs:
            return "-"
        return format_html(
            '<img src="{}" alt="{}" loading="lazy" height="{}" style="height: {}px; width: auto; border-radius: 4px">',
            thumbs[-1].url, image, THUMBNAIL_HEIGHT_PX, THUMBNAIL_HEIGHT_PX,
        )  # fmt: skip

    @admin.display(description="original", ordering="size_bytes")
    def original(self, image: Image) -> str:
        return f"{image.format.upper()}, {image.width_px} x {image.height_px} px, {filesizeformat(image.size_bytes)}"

    @admin.display(description="variants")
    def variant_count(self, image: Image) -> int:
        return len(image.variants.all())

    @admin.display(description="job", ordering="job_id")
    def job(self, image: Image) -> SafeString:
        page = f"{reverse('admin:index')}tasks/job/{image.job_id}/change/"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', page, image.job_id)

    @admin.display(description="variants")
    def pictures(self, image: Image) -> SafeString:
        figures = format_html_join(
            "",
            '<figure style="margin: 0">'
            '<a href="{0}"><img src="{0}" alt="{1}" loading="lazy" width="{2}" height="{3}"'
            ' style="max-width: 100%; height: auto; border-radius: 4px"></a>'
            "<figcaption>{1}: {2} x {3} px, {4}</figcaption></figure>",
            (
                (variant.url, variant, variant.width_px, variant.height_px, filesizeformat(variant.size_bytes))
                for variant in image.variants.all()
            ),
        )
        return format_html('<div style="display: flex; flex-wrap: wrap; gap: 16px">{}</div>', figures)


@admin.register(Variant)
class VariantAdmin(ReadOnly):
    """No pages of its own: variants are shown with their image. It serves their files to those who may see images."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.file, cacheable=True)
        return [path("<int:variant_id>/file/", view, name="media_variant_file")]

    def file(self, request: HttpRequest, variant_id: int) -> HttpResponseBase:
        if not request.user.has_perm("media.view_image"):
            raise PermissionDenied
        variant = get_object_or_404(Variant, pk=variant_id)
        try:
            stored = variant.file.open("rb")
        except FileNotFoundError:
            raise Http404(f"the file of variant {variant_id} is gone from the storage") from None
        response = FileResponse(
            stored, filename=str(variant.file).rpartition("/")[2], content_type=f"image/{variant.format}"
        )
        response["X-Content-Type-Options"] = "nosniff"
        patch_cache_control(response, private=True, max_age=BROWSER_CACHE_SECONDS)
        return response
