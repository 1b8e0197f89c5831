"""A worker of the web server, as far as it can be seen without a server."""

import multiprocessing

from project import web
from tasks import publisher


def test_a_worker_hands_its_last_messages_over_before_it_ends(monkeypatch):
    fork = multiprocessing.get_context("fork")
    asked, asks = fork.Pipe(duplex=False)
    monkeypatch.setattr(publisher, "flush", lambda *_: asks.send("flush"))
    worker = fork.Process(target=web.begin_worker)
    worker.start()
    worker.join(20)
    assert (worker.exitcode, asked.poll() and asked.recv()) == (0, "flush")
