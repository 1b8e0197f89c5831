from pathlib import Path

from compose.private.ports import CANDIDATES, Ports


def test_second_start_gets_the_same_port(tmp_path: Path):
    first = Ports(tmp_path / "ports.json").get("amqp")

    assert Ports(tmp_path / "ports.json").get("amqp") == first


def test_port_taken_meanwhile_is_replaced_for_good(tmp_path: Path):
    first = Ports(tmp_path / "ports.json").get("amqp")

    second = Ports(tmp_path / "ports.json", free=lambda port: port != first).get("amqp")

    assert second != first
    assert Ports(tmp_path / "ports.json").get("amqp") == second


def test_two_names_never_share_a_port(tmp_path: Path):
    two_left = set(CANDIDATES[:2])
    ports = Ports(tmp_path / "ports.json", free=two_left.__contains__)

    assert {ports.get("amqp"), ports.get("epmd")} == two_left


def test_no_port_is_one_that_the_system_gives_to_clients():
    system_range = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(system_range.read_text().split()[0]) if system_range.exists() else 49_152

    assert max(CANDIDATES) < lowest
