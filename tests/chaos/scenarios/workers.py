"""What happens to workers and to the children of their pools."""

import random

from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("supervision-off")
def worker_sigkill(scene: Scene, dice: random.Random) -> None:
    """A worker's main process gets SIGKILL three times while it runs jobs: they run again elsewhere, one attempt spent,
    because the redelivered message or the worker's silence tells that it is gone."""
    for _ in range(3):
        scene.moment()
        victim = scene.busy_worker()
        victim.kill()
        scene.moment()
        victim.start()
    scene.rest()
    scene.demand(scene.lost_attempts() >= 3, "each kill cost at least one attempt")
