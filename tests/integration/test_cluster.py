"""Three real nodes: what the platform's own connection makes of losing one."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.private.cluster import Cluster, private_cluster
from tasks import brokers
from tasks.brokers import Broker, JobMessage
from tasks.errors import BrokerUnavailable
from tests.waiting import wait_for


@pytest.fixture
def cluster(settings, tmp_path_factory) -> Iterator[Cluster]:
    """Set for the test as BROKER_URL."""
    parent = os.environ.get("PRIVATE_SERVERS_DIRECTORY") or tmp_path_factory.mktemp("cluster")
    with private_cluster(Path(parent) / "cluster", fresh=True) as cluster:
        settings.CELERY_BROKER_URL = cluster.environment["BROKER_URL"]
        settings.TASKS_RABBITMQ_API_URL = cluster.environment["RABBITMQ_API_URL"]
        yield cluster


def is_confirmed(broker: Broker) -> bool:
    try:
        return bool(broker.publish([JobMessage(uuid.uuid4(), 1, "probe.echo", "work-queue")]))
    except BrokerUnavailable:
        return False


def test_jobs_are_published_whichever_node_is_lost(cluster: Cluster):
    broker = brokers.connect()
    assert broker.apply_topology() == broker.check_topology() == []
    assert is_confirmed(broker)
    leader, _, other = cluster.nodes  # the queues' leader is the node that declared them

    leader.kill()
    wait_for(lambda: is_confirmed(broker), "a confirm from the two that are left")
    leader.start()
    cluster.part(other)
    wait_for(lambda: not other.is_ready(), "the node in the minority to pause")
    assert is_confirmed(broker)
    cluster.heal(other)
    cluster.wait_until_whole()

    assert broker.check_topology() == []
    broker.close()
