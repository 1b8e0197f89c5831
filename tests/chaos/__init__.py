"""`make chaos`: real processes under a steady load, faults from a printed seed, and a verdict that is arithmetic.

Read in this order: scenarios/ (what is broken), verdict.py (what must hold), scene.py, setting.py and stage.py (what it
runs on), mutations.py (what shows that a scenario can fail). It is a Django app as well, so that its tasks and its
deliberate breakages reach the platform's processes by EXTRA_APPS; no normal run loads it.
"""
