"""gunicorn's configuration in web-forked-after-publishing: the parent publishes, and then forks."""


def when_ready(server: object) -> None:
    """Called in the parent, after --preload has loaded the platform and before it has a child."""
    from tasks import publisher

    publisher.publish([])  # starts its thread
    publisher.flush()
