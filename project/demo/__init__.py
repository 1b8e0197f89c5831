"""The demonstration: two kinds of work that fail on purpose, and `manage.py demo`, which shows and checks everything.

Installed by EXTRA_APPS=project.demo; `make demo` and `make up` set it.
"""
