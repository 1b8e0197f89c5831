"""Looks and links of the operators' console (django-unfold). Its pages are in tasks/admin/."""

from typing import Any

from django.templatetags.static import static

LOGIN_REDIRECT_URL = "admin:index"  # unfold's login form drops Django's own "next" when it is opened by its address

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Task platform",
    "SITE_HEADER": "Task platform",
    "SITE_SUBHEADER": "Operators' console",
    "SITE_SYMBOL": "account_tree",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("tasks/favicon.svg")}],
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "tasks.admin.dashboard.callback",
    "STYLES": [lambda request: static("tasks/console.css")],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .188 259.8)",
            "600": "oklch(54.6% .215 262.9)",
            "700": "oklch(48.8% .217 264.4)",
            "800": "oklch(42.4% .181 265.6)",
            "900": "oklch(37.9% .138 265.5)",
            "950": "oklch(28.2% .087 267.9)",
        }
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "tasks.admin.navigation.sidebar"},
}
