"""Publish-subscribe: every change of every job, for any number of subscribers.

The history is the outbox. feed reads it in order and hands it to the sinks that JOB_EVENTS names; messages is what
they are told, version 1 (docs/job-events.md).
"""
