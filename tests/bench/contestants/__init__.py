"""Each contestant's own code: the application, the no-op task, and how a client of it enqueues.

These modules run in the processes of the contestants and in the peers' environment, so they import their library, the
standard library and `work`. Each has what its contests ask of it:

    send(sent=0.0)     enqueue one job as its documentation shows it
    send_many(count)   enqueue a batch; the loop over ``send`` where there is none
    settle()           return once everything sent is as safe as it promises; nothing where ``send`` waits for that
    fill(count)        fill the queue before a drain, as fast as it can
    close()            end what would keep the process alive

BENCH_VARIANT names the variants that a module plays, separated by commas.
"""

import os

WARM_UP = 50  # jobs before a measurement: connections, caches, code paths
VARIANT = frozenset(os.environ.get("BENCH_VARIANT", "").split(","))
