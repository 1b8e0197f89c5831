import httpx
import pytest

from tasks import brokers
from tasks.brokers.rabbitmq import management
from tasks.brokers.rabbitmq.nodes import nodes
from tests.waiting import closed_port


def test_the_nodes_of_a_cluster_keep_their_order():
    assert nodes("amqp://u:p%3B@a:1//;amqp://b:2//") == ["amqp://u:p%3B@a:1//", "amqp://b:2//"]
    assert nodes("amqp://a//") == ["amqp://a//"]


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://h", "%2F"),
        ("amqp://h/", "%2F"),
        ("amqp://h//", "%2F"),
        ("amqp://h/%2F", "%2F"),
        ("amqp://h/mine", "mine"),
        ("amqp://h/my%20own;amqp://i/my%20own", "my%20own"),
    ],
)
def test_the_vhost_is_that_of_the_first_node(settings, url: str, vhost: str):
    settings.CELERY_BROKER_URL = url
    assert management.vhost() == vhost


def test_a_cluster_is_spoken_to_in_the_language_of_its_nodes(settings):
    settings.CELERY_BROKER_URL = "amqp://a//;amqp://b//"
    assert all(queue.queue_arguments["x-queue-type"] == "quorum" for queue in brokers.celery_queues())


def test_no_node_of_the_management_api_answers():
    api = management.Management(";".join(f"http://u:p@127.0.0.1:{closed_port()}/api/" for _ in range(2)))
    with pytest.raises(httpx.ConnectError):
        api.get("overview")
