"""`make bench`: the platform beside its peers, on the same servers, in interleaved rounds; ratios and nothing absolute.

Read in this order: targets.py (what must be reached), field.py (who competes, with which settings and promises),
contests/ (what is measured, one file a family), contestants/ (each one's own code, run in its own processes), stage.py
(servers and homes), workers.py, rounds.py (who is measured when). The rest counts, prints and draws.
It is a Django app as well, so that its tasks reach the platform's processes by EXTRA_APPS; no normal run loads it.
"""
