"""What happens to workers and to the children of their pools."""

import os
import random
import signal
import time
from contextlib import suppress

from tasks.models import DeadLetter, WorkerProcess
from tests.chaos import failpoints
from tests.chaos.orders import errand, quick, strict
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene
from tests.chaos.tasks import MEGABYTE
from tests.waiting import wait_for


@scenario("supervision-off")
def worker_sigkill(scene: Scene, dice: random.Random) -> None:
    """A worker's main process gets SIGKILL three times while it runs jobs: they run again elsewhere, one attempt spent,
    because the redelivered message or the worker's silence tells that it is gone."""
    _kill_busy_workers(scene)


@scenario("supervision-off", pool="threads")
def worker_of_threads_sigkill(scene: Scene, dice: random.Random) -> None:
    """As worker-sigkill, with pools of threads: what runs in the worker's own process ends with it, and runs again."""
    _kill_busy_workers(scene)


def _kill_busy_workers(scene: Scene) -> None:
    for _ in range(3):
        scene.moment()
        victim = scene.busy_worker()
        victim.kill()
        scene.moment()
        victim.start()
    scene.rest()
    scene.demand(scene.lost_attempts() >= 3, "each kill cost at least one attempt")


@scenario("supervision-off")
def child_sigkill(scene: Scene, dice: random.Random) -> None:
    """The children of a worker's pool get SIGKILL in the middle of their jobs, four times: the main process counts the
    attempt and the job is retried."""
    for _ in range(4):
        scene.moment()
        for child in scene.busy_worker().children:
            os.kill(child, signal.SIGKILL)
    scene.rest()
    scene.demand(scene.lost_attempts() >= 4, "each kill cost at least one attempt")


@scenario("journal-blank")
def turn_sigkill(scene: Scene, dice: random.Random) -> None:
    """Hundreds of short jobs share the turns of the pool's children, and now and then one of them kills its process:
    it alone has lost an attempt, those before it have ended and those after it run."""
    scene.place(*[quick()] * 50)  # how short they are is measured
    before = scene.lost_attempts()
    for _ in range(5):
        orders = [quick()] * 100 + [quick(failures=1, how="kill")]
        dice.shuffle(orders)
        scene.place(*orders)
        scene.moment()
    scene.rest()
    lost = scene.lost_attempts() - before
    scene.demand(lost == 5, f"the five that killed have lost an attempt each, and no other: {lost}")


@scenario("supervision-off", environment={"POISON_LIMIT": "3"})
def child_oom(scene: Scene, dice: random.Random) -> None:
    """Jobs eat memory until the kernel's killer (played from outside) takes their process: they are retried, and what
    dies of it says how much memory it had and that it was SIGKILL."""
    scene.place(*[errand(failures=1, how="hog")] * 3)
    (doomed,) = scene.place(errand("dead", failures=1_000_000, how="hog"))
    wait_for(lambda: _kill_the_fat(scene) and bool(scene.events("dead", doomed)), "the last of the hogs to die")
    scene.rest()
    letter = DeadLetter.objects.get(job_id=doomed)
    scene.demand(letter.reason == "worker_lost", f"the reason is worker_lost, not {letter.reason}", doomed)
    scene.demand(letter.evidence.get("signal") == "SIGKILL", f"the signal is told: {letter.evidence}", doomed)
    peak = letter.evidence.get("peak_memory_bytes", 0)
    scene.demand(peak > 100 * MEGABYTE, f"the peak of its memory is told: {letter.evidence}", doomed)


def _kill_the_fat(scene: Scene) -> bool:
    for worker in scene.workers:
        for child in worker.children:
            with suppress(OSError):
                with open(f"/proc/{child}/statm") as sizes:
                    resident_bytes = int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                if resident_bytes > 300 * MEGABYTE:
                    os.kill(child, signal.SIGKILL)
    return True


@scenario("fencing-off")
def worker_sigstop(scene: Scene, dice: random.Random) -> None:
    """A worker is frozen for longer than its silence is borne, and thawed: its jobs have run elsewhere by then, and its
    late outcomes change nothing because they are fenced by the attempt's number."""
    frozen = scene.busy_worker()
    frozen.freeze()
    before = scene.lost_attempts()
    wait_for(lambda: scene.lost_attempts() > before, "the silence to be noticed")
    scene.moment()
    frozen.thaw()
    scene.rest()
    late = [event for event in scene.events("duplicate") if "outcome" in event.detail]
    scene.demand(bool(late), "the frozen worker's outcomes came late, and were told in the history")


@scenario("watchdog-off", environment={"IDLE_RESTART_SECONDS": "4"})
def worker_deaf(scene: Scene, dice: random.Random) -> None:
    """Every worker is made to look alive and consume nothing: each notices that messages wait while it is idle, and
    starts itself anew under its own process id."""
    pids = {worker.pid for worker in scene.workers}
    scene.moment()
    scene.remote_control("deafen")
    scene.place_and_see_run(seconds=60)
    scene.demand({worker.pid for worker in scene.workers} == pids, "they are the same processes")
    scene.demand(WorkerProcess.objects.count() > len(pids), "they had a second life")


@scenario("children-obey")
def service_stopped(scene: Scene, dice: random.Random) -> None:
    """SIGTERM goes to every process of a worker at once, its children too, as a service manager sends it: what runs may
    end all the same, and no attempt is spent."""
    for _ in range(2):
        scene.moment()
        old = scene.busy_worker()
        for child in old.children:
            os.kill(child, signal.SIGTERM)
        old.send(signal.SIGTERM)
        old.wait()
        scene.demand(old.exit_code == 0, f"{old.name} ended with {old.exit_code}")
        old.start()
    scene.rest()
    crashed = scene.attempts_that_said("AttemptCrashed") + scene.lost_attempts()
    scene.demand(crashed == 0, f"{crashed} attempts were spent")


@scenario("hand-back-off", environment={"SHUTDOWN_GRACE_SECONDS": "0.5"})
def worker_rolling_restart(scene: Scene, dice: random.Random) -> None:
    """Every worker is replaced while it runs jobs that outlast the grace period, by SIGTERM, by a second one and by
    SIGQUIT: what runs is handed back, and no attempt is spent."""
    for signals in ((signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)):
        scene.moment()
        old = scene.busy_worker()
        for number in signals:
            old.send(number)
            time.sleep(0.1)
        old.wait()
        scene.demand(old.exit_code == 0, f"{old.name} ended with {old.exit_code} on {signals}")
        old.start()
    scene.rest()
    scene.demand(bool(scene.events("handed_back")), "attempts were handed back")
    scene.demand(scene.lost_attempts() == 0, f"{scene.lost_attempts()} attempts were spent")


@scenario("fencing-off")
def worker_sigkill_before_ack(scene: Scene, dice: random.Random) -> None:
    """A worker dies between the commit of an outcome and the acknowledgement of its message, three times: the message
    comes again and is a duplicate, because the row has moved on."""
    for _ in range(3):
        scene.moment()
        scene.arm(failpoints.BEFORE_ACK)
        scene.wait_until_struck(failpoints.BEFORE_ACK)
        scene.restart_the_dead()
    scene.rest()
    scene.demand(bool(scene.events("duplicate")), "its message came again and was dropped")


@scenario("poison-unlimited", environment={"POISON_LIMIT": "3"})
def poison_message(scene: Scene, dice: random.Random) -> None:
    """A job kills every process that runs it: it is dead after POISON_LIMIT of them, whatever its policy has left, with
    the signal as evidence, and no other job suffers for long."""
    poison = scene.place(*[errand("dead", failures=1_000_000, how="kill")] * 2)
    scene.moment(3, 5)
    scene.rest()
    for job_id in poison:
        letter = DeadLetter.objects.filter(job_id=job_id).first()
        scene.demand(letter is not None and letter.attempt == 3, "it took three processes with it, no more", job_id)
        if letter:
            scene.demand(letter.reason == "worker_lost", f"the reason is worker_lost, not {letter.reason}", job_id)
            scene.demand(letter.evidence.get("signal") == "SIGKILL", f"the signal is told: {letter.evidence}", job_id)


@scenario("supervision-off")
def hard_time_limit(scene: Scene, dice: random.Random) -> None:
    """Jobs hang and ignore the soft limit: each attempt is ended at the hard one and counted, the last with reason
    time_limit, and a job that hangs only once succeeds."""
    hopeless = scene.place(*[strict("dead", failures=99, how="hang")] * 2)
    scene.place(*[strict(failures=1, how="hang")] * 2)
    scene.moment(3, 5)
    scene.rest()
    for job_id in hopeless:
        letter = DeadLetter.objects.filter(job_id=job_id).first()
        told = letter and (letter.reason, letter.attempt)
        scene.demand(told == ("time_limit", 3), f"dead of time_limit at attempt 3, not {told}", job_id)


@scenario("retries-off")
def retries_exhausted(scene: Scene, dice: random.Random) -> None:
    """Jobs fail in every attempt: they have exactly the attempts that their policy grants, and are then dead letters
    with their last error."""
    hopeless = scene.place(*[strict("dead", failures=99)] * 5)
    scene.moment(3, 5)
    scene.rest()
    for job_id in hopeless:
        letter = DeadLetter.objects.filter(job_id=job_id).first()
        told = letter and (letter.reason, letter.attempt, letter.error_type)
        scene.demand(told == ("exhausted", 3, "ConnectionError"), f"dead after three attempts, not {told}", job_id)


@scenario("crashes-escape")
def memory_error(scene: Scene, dice: random.Random) -> None:
    """Jobs raise MemoryError and SystemExit, which end a stock worker: here they are failed attempts like any other."""
    names = {"memory": "MemoryError", "exit": "AttemptCrashed"}
    for how, error_type in names.items():
        scene.place(*[strict(failures=1, how=how)] * 3)
        (job_id,) = scene.place(strict("dead", failures=99, how=how))
        scene.moment()
        wait_for(lambda job_id=job_id: bool(scene.events("dead", job_id)), "the hopeless one to die")
        letter = DeadLetter.objects.get(job_id=job_id)
        told = (letter.reason, letter.attempt, letter.error_type)
        scene.demand(told == ("exhausted", 3, error_type), f"dead of {error_type} at attempt 3, not {told}", job_id)


@scenario("retries-off")
def disk_full(scene: Scene, dice: random.Random) -> None:
    """The workers' processes can write no file for a while: attempts fail and are retried until there is room again,
    and no worker ends for want of a log."""
    for _ in range(2):
        scene.moment()
        for worker in scene.workers:
            worker.limit_files(0)
        scene.moment(1.5, 3)
        for worker in scene.workers:
            worker.limit_files(-1)
    scene.rest()
    scene.demand(scene.attempts_that_said("File too large") > 0, "attempts met the full disk")
