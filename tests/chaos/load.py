"""The steady load: clients ask over HTTP or from Python, and again with the same key until they are told yes."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from uuid import UUID

import httpx
from django.db import DatabaseError, InterfaceError, connections, transaction

from tasks.api import enqueue
from tests.chaos.orders import Order, draw

FAST, SLOW = 5.0, 0.4  # orders a second and client: the first hundred come fast, a long fault meets a trickle
PLENTY = 100
LONGEST_ANSWER_SECONDS = 20
GIVE_UP_SECONDS = 90


class Load:
    """Four clients between ``start`` and ``stop``. ``accepted`` is what the platform owes an end."""

    def __init__(self, urls: Sequence[str], token: str, seed: str):
        self.accepted: dict[UUID, Order] = {}
        self.complaints: list[str] = []
        self.slowest_answer_seconds = 0.0
        self._urls = list(urls)
        self._token = token
        self._seed = seed
        self._ending = threading.Event()
        clients = [self._over_http, self._over_http, self._from_python, self._from_python] if urls else []
        self._threads = [
            threading.Thread(target=self._go_on, args=(ask, random.Random(f"{seed} client {number}")), daemon=True)
            for number, ask in enumerate(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new orders. Returns once every order that was begun is accepted, or given up with a complaint."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def place(self, *orders: Order) -> list[UUID]:
        """Have ``orders`` accepted now, in one transaction, as a caller in the same process would."""
        with transaction.atomic():
            ids = [self._enqueue(order, uuid.uuid4().hex) for order in orders]
        self.accepted |= dict(zip(ids, orders, strict=True))
        return ids

    def post(self, order: Order, dice: random.Random) -> UUID | None:
        """Have ``order`` accepted over HTTP, in as many tries as it takes; None when it was given up."""
        with httpx.Client(headers={"Authorization": f"Bearer {self._token}"}, timeout=LONGEST_ANSWER_SECONDS) as client:
            return self._insist(lambda key: self._post(client, order, key, dice), order)

    def _go_on(self, ask: Callable[[random.Random], None], dice: random.Random) -> None:
        try:
            while not self._ending.wait(dice.expovariate(FAST if len(self.accepted) < PLENTY else SLOW)):
                ask(dice)
        except Exception as error:
            self.complaints.append(f"a client ended: {error!r}")
        finally:
            connections.close_all()

    def _over_http(self, dice: random.Random) -> None:
        self.post(draw(dice), dice)

    def _from_python(self, dice: random.Random) -> None:
        order = draw(dice)
        self._insist(lambda key: self._commit(order, key), order)

    def _insist(self, ask: Callable[[str], UUID | None], order: Order) -> UUID | None:
        """Ask again with the same key until there is an answer: whether the last try was accepted, nobody knows."""
        deadline, key = time.monotonic() + GIVE_UP_SECONDS, uuid.uuid4().hex
        while (job_id := ask(key)) is None:
            if time.monotonic() > deadline:
                self.complaints.append(f"nobody accepted {order} within {GIVE_UP_SECONDS} s")
                return None
            time.sleep(0.1)
        self.accepted[job_id] = order
        return job_id

    def _post(self, client: httpx.Client, order: Order, key: str, dice: random.Random) -> UUID | None:
        begin = time.monotonic()
        try:
            answer = client.post(
                f"{dice.choice(self._urls)}/api/v1/jobs",
                json={"task": order.task, "payload": order.payload, **order.options},
                headers={"Idempotency-Key": key},
            )
        except httpx.HTTPError:
            return None
        self.slowest_answer_seconds = max(self.slowest_answer_seconds, time.monotonic() - begin)
        if answer.status_code >= 500:
            return None
        if answer.status_code != 202:
            raise AssertionError(f"{order} was answered with {answer.status_code}: {answer.text[:300]}")
        return UUID(answer.json()["id"])

    def _commit(self, order: Order, key: str) -> UUID | None:
        try:
            with transaction.atomic():
                return self._enqueue(order, key)
        except (DatabaseError, InterfaceError):  # the commit may have succeeded: the key finds out
            connections.close_all()
            return None

    def _enqueue(self, order: Order, key: str) -> UUID:
        return enqueue(order.task, order.payload, idempotency_key=key, **order.options).pk
