"""An app with the tasks that tests need: they fail, wait, kill and count on request."""
