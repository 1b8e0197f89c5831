"""What happens to PostgreSQL, to the connections to it, and to Redis."""

import random

from django.db import connection

from tasks.models import WorkerProcess
from tests.chaos.orders import errand
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("outcome-not-held", "watchdog-blind", environment={"IDLE_RESTART_SECONDS": "3"})
def database_restart(scene: Scene, dice: random.Random) -> None:
    """PostgreSQL is stopped and started, then killed and started: outcomes are held until it is back, no message is
    acknowledged before its commit, no worker takes its idleness for a fault of the broker's, and a client whose answer
    was lost asks again with its key."""
    for end in (scene.database.stop, scene.database.kill):
        scene.moment()
        scene.busy_worker()
        end()
        connection.close()  # ours is gone as well
        scene.moment(8, 10)
        scene.database.start()
        scene.moment()
    _demand_that_outcomes_were_held(scene)
    _demand_one_life_each(scene)


@scenario("outcome-not-held")
def database_connections_killed(scene: Scene, dice: random.Random) -> None:
    """All sessions of the database are ended ten times, in the middle of claims, outcomes and requests: each goes on
    with a new connection, and a commit whose answer was lost is found out."""
    for _ in range(10):
        scene.place(*[errand(seconds=round(dice.uniform(0.2, 0.6), 2))] * 3)
        scene.moment(0.2, 0.8)
        scene.kill_database_sessions()
    _demand_that_outcomes_were_held(scene)


@scenario("events-insist", environment={"IDLE_RESTART_SECONDS": "6"})
def database_frozen(scene: Scene, dice: random.Random) -> None:
    """PostgreSQL stands still under running jobs, for longer than a silence is borne and than the broker keeps a silent
    connection: no living worker is taken for lost, because nobody could speak meanwhile, and each connects again by
    itself, without the watchdog's help."""
    for _ in range(2):
        scene.busy_worker()
        scene.database.freeze()
        scene.moment(13, 15)
        scene.database.thaw()
        scene.moment(1, 2)
    scene.rest()
    scene.load.slowest_answer_seconds = 0  # nothing can be accepted meanwhile
    scene.demand(scene.lost_attempts() == 0, f"{scene.lost_attempts()} attempts were taken for lost")
    _demand_one_life_each(scene)


def _demand_one_life_each(scene: Scene) -> None:
    lives = WorkerProcess.objects.count()
    scene.demand(lives == len(scene.workers), f"{len(scene.workers)} workers had {lives} lives")


def _demand_that_outcomes_were_held(scene: Scene) -> None:
    """Supervision would mend a dropped outcome with a second run. A few that it mends are commits that succeeded
    without an answer."""
    scene.rest()
    scene.demand(scene.lost_attempts() <= 3, f"{scene.lost_attempts()} attempts ran in vain: outcomes were not held")


@scenario("redis-trusted")
def redis_gone(scene: Scene, dice: random.Random) -> None:
    """Redis is killed and stays away: nothing that the platform promises depends on it."""
    scene.moment()
    scene.stage.servers.redis.kill()
    scene.moment(4, 6)
