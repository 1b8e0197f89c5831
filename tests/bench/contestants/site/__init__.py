"""The folder that the web server's process gets as its own; see contests/http.py."""
