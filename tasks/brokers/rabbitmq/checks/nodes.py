"""The nodes of the cluster, and where each queue's copies are."""

from collections.abc import Iterator
from typing import Any

from tasks.brokers.rabbitmq.checks.over_api import API_NEEDS, Api
from tasks.doctor.check import Check, Finding, Unknown


class NodeChecks:
    def __init__(self, api: Api):
        self._api = api

    def all(self) -> tuple[Check, ...]:
        return (
            Check("alarms", "no node has a memory or disk alarm", self.alarms, API_NEEDS),
            Check("cluster", "every node runs, and none is cut off from another", self.cluster, API_NEEDS),
            Check("quorum", "every quorum queue has its leader and all its members", self.quorum, API_NEEDS),
            Check("replicas", "every queue outlives the loss of a node, or there is but one", self.replicas, API_NEEDS),
        )

    def alarms(self) -> Iterator[Finding]:
        for node in self._api.nodes:
            for key, thing in (("mem_alarm", "memory"), ("disk_free_alarm", "disk")):
                if node.get(key):
                    yield Finding(
                        f"{node['name']} has a {thing} alarm: it takes no messages",
                        f"Give the node more {thing}, or drain its queues. Jobs wait as rows meanwhile.",
                    )

    def cluster(self) -> Iterator[Finding]:
        for node in self._api.nodes:
            if not node.get("running"):
                yield Finding(
                    f"the node {node['name']} does not run",
                    f"Start it, or run `rabbitmqctl forget_cluster_node {node['name']}` if it never comes back.",
                )
            if cut_off := node.get("partitions"):
                yield Finding(
                    f"the node {node['name']} is cut off from {', '.join(cut_off)}",
                    "Mend the network, restart the nodes of the smaller part, and set cluster_partition_handling = "
                    "pause_minority.",
                )

    def quorum(self) -> Iterator[Finding | Unknown]:
        for queue in self._quorum_queues:
            if "online" not in queue:
                yield Unknown(f"{queue['name']} does not tell its members", "Ask again in a few seconds.")
                continue
            members, online = set(queue.get("members", ())), set(queue["online"])
            if queue.get("leader") not in online:
                yield Finding(
                    f"{queue['name']} has no leader: nothing gets in or out",
                    "Start the nodes that hold it; where all of them run, restart the node in good order.",
                )
            elif offline := sorted(members - online):
                yield Finding(
                    f"{queue['name']} has {len(offline)} of {len(members)} members offline: {', '.join(offline)}",
                    f"Start those nodes; `rabbitmq-queues quorum_status {queue['name']}` tells how they catch up.",
                )

    def replicas(self) -> Iterator[Finding]:
        nodes = len(self._api.nodes)
        for queue in self._quorum_queues if nodes > 1 else ():
            members = len(queue.get("members", ()))
            if members % 2 == 0 or members == 1:
                has = "1 member" if members == 1 else f"{members} members"
                survives = "the loss of no node" if members < 3 else f"as many lost nodes as {members - 1} would"
                yield Finding(
                    f"{queue['name']} has {has} on {nodes} nodes: it survives {survives}",
                    "Have 3 or 5 nodes, and run `rabbitmq-queues grow <node> all` for each that lacks a member.",
                )

    @property
    def _quorum_queues(self) -> list[dict[str, Any]]:
        return [queue for queue in self._api.queues if queue.get("type") == "quorum"]
