"""What happens to a host's clock."""

import random
import signal

from tasks.models import Job
from tests.chaos import clock
from tests.chaos.orders import errand
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene

HOUR = 3600
DELAY_SECONDS = 2


@scenario("host-clock")
def clock_jump(scene: Scene, dice: random.Random) -> None:
    """The clock of one worker and one web process jumps ahead and back by up to an hour: delays are kept, nobody is
    taken for lost, nothing expires or starves, because moments are the database's and silence is monotonic."""
    file = scene.directory / "clock"
    clock.set_ahead(file, 0)
    for process in (scene.workers[0], scene.webs[0]):
        process.send(signal.SIGTERM)
        process.wait()
        process.environment["CHAOS_CLOCK"] = str(file)
        process.start()
    delayed = []
    for seconds in (HOUR, -HOUR, dice.randrange(1, 600), -dice.randrange(1, 600), 0):
        clock.set_ahead(file, seconds)
        delayed += [scene.load.post(errand(options={"delay_seconds": DELAY_SECONDS}), dice) for _ in range(4)]
        scene.moment(1, 2)
    scene.rest()
    scene.demand(scene.lost_attempts() == 0, f"{scene.lost_attempts()} attempts were taken for lost")
    for job in Job.objects.filter(pk__in=delayed).exclude(started_at=None):
        waited = (job.started_at - job.created_at).total_seconds()
        scene.demand(DELAY_SECONDS - 0.1 <= waited < 60, f"asked to wait 2 s, it began after {waited:.1f} s", job.pk)
