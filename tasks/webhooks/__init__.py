"""Webhooks in the format of https://www.standardwebhooks.com: outcomes become messages, and each message is a job.

outbox reads the history and makes deliveries; delivery sends one, to where guard lets it, with what signing adds;
endpoints is what people do.
"""
