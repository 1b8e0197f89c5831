from pathlib import Path
from urllib.parse import urlsplit

import pytest

from compose.private.cluster import NAMES, Cluster
from compose.private.rabbitmq import Node


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Three nodes that nobody starts."""
    return Cluster(tmp_path, {"consumer_timeout": 5_000})


def settings_of(node: Node) -> dict[str, str]:
    node._prepare()
    lines = (node.data / "rabbitmq.conf").read_text().splitlines()
    return dict(line.split(" = ") for line in lines)


def test_the_addresses_name_every_node(cluster: Cluster):
    for value in cluster.environment.values():
        urls = [urlsplit(url) for url in value.split(";")]
        assert len({url.port for url in urls}) == len(NAMES)
        assert len({(url.scheme, url.username, url.password, url.path) for url in urls}) == 1


def test_every_node_knows_every_node_and_shares_the_cookie(cluster: Cluster):
    for node in cluster.nodes:
        names = [value for key, value in settings_of(node).items() if "classic_config.nodes" in key]
        assert names == [peer.erlang_name for peer in cluster.nodes]
    assert len({(node.data / ".erlang.cookie").read_text() for node in cluster.nodes}) == 1


def test_given_settings_win(cluster: Cluster):
    assert [settings_of(node)["consumer_timeout"] for node in cluster.nodes] == ["5000"] * 3


def test_a_node_is_parted_from_the_other_two(cluster: Cluster):
    assert cluster._peers(cluster.nodes[1]) == "['rabbitmq-1@localhost', 'rabbitmq-3@localhost']"
