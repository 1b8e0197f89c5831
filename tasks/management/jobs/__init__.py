"""The actions of `manage.py jobs`."""
