"""The formats of a report, and the module that writes each."""

from importlib import import_module
from typing import Literal, cast

from reports.renderers.base import Renderer

Format = Literal["pdf", "xlsx", "csv"]

# By name, because ReportLab costs a process some 20 MB: only the workers that render pay, not every web process.
RENDERERS: dict[Format, str] = {
    "pdf": "reports.renderers.pdf",
    "xlsx": "reports.renderers.xlsx",
    "csv": "reports.renderers.csv",
}

CONTENT_TYPES: dict[Format, str] = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}


def renderer(format: Format) -> Renderer:
    """The ``render`` of ``format``. KeyError when there is none."""
    return cast(Renderer, import_module(RENDERERS[format]).render)
