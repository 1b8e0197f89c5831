"""What happens to a cluster of three RabbitMQ nodes."""

import random

from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("single-node", cluster=True, copies=True)
def broker_node_lost(scene: Scene, dice: random.Random) -> None:
    """One node of three is killed, the one that the workers are connected to: they go on with the others, where every
    queue has a replica."""
    node = scene.cluster.nodes[0]
    scene.busy_worker()
    node.kill()
    try:
        scene.moment(8, 10)
        scene.place_and_see_run()
    finally:
        node.start()


@scenario("single-node", cluster=True, copies=True)
def broker_partition(scene: Scene, dice: random.Random) -> None:
    """One node is cut off from the other two: it pauses, its clients move to the majority, and nothing is decided on
    both sides."""
    node = scene.cluster.nodes[0]
    scene.busy_worker()
    scene.cluster.part(node)
    try:
        scene.moment(8, 10)
        scene.place_and_see_run()
    finally:
        scene.cluster.heal(node)
