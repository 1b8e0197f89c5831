"""What happens to web processes, and to the jobs that they have just accepted."""

import random

from tests.chaos import failpoints
from tests.chaos.orders import errand
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("relay-off")
def web_sigkill_after_commit(scene: Scene, dice: random.Random) -> None:
    """A web process dies between the commit of a job and its publishing, three times, and one with all it remembers:
    clients that ask again get the same job, and the relay publishes what has no message."""
    for _ in range(3):
        scene.moment()
        scene.arm(failpoints.AFTER_COMMIT)
        scene.wait_until_struck(failpoints.AFTER_COMMIT)
        scene.serve_again()
    victim = dice.choice(scene.webs)
    victim.kill()
    scene.moment()
    victim.start()
    scene.rest()
    scene.demand(bool(scene.events("republished")), "the relay found what was never published")


@scenario("fork-hook-off", environment={"CHAOS_PUBLISH_ON_LOAD": "1"})
def web_forked_after_publishing(scene: Scene, dice: random.Random) -> None:
    """The web server loads the platform and publishes before it forks: its children publish through connections of
    their own, without the relay's help, because a forked process begins with a fresh publisher."""
    scene.moment()
    posted = [scene.load.post(errand(), dice) for _ in range(20)]
    scene.moment()
    scene.rest()
    helped = {event.job_id for event in scene.events("republished")} & set(posted)
    scene.demand(len(helped) < 5, f"the relay had to publish {len(helped)} of 20 jobs")
