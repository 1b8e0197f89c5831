"""What is unsafe in the running system and its settings, each with its remedy: `manage.py doctor`.

check.py says what a check is; examination.py asks them all, in the order in which they stand there. A broker brings
checks of its own (brokers.base.Broker.checks).
"""
