"""Clients of Amazon's services, as the environment describes them."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from tasks.errors import MissingRequirement

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    TROUBLE: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
except ImportError:  # pragma: no cover  optional
    boto3 = None
    TROUBLE = (OSError,)

CONNECTIONS = 32
DEFAULT_REGION = "us-east-1"


def client(service: str) -> Any:
    """A client for any number of threads. Where BROKER_URL is ``sqs://key:secret@region`` it has these; what is missing
    comes from where Amazon's tools look (AWS_ACCESS_KEY_ID, AWS_DEFAULT_REGION, a role). Raises MissingRequirement."""
    if boto3 is None:
        raise MissingRequirement("boto3", "requirements/sqs.txt")
    url = urlsplit(settings.CELERY_BROKER_URL if settings.CELERY_BROKER_URL.startswith("sqs:") else "")
    session = boto3.session.Session()
    return session.client(
        service,
        region_name=url.hostname or session.region_name or DEFAULT_REGION,
        endpoint_url=settings.TASKS_SQS_ENDPOINT_URL or None,
        aws_access_key_id=unquote(url.username) if url.username else None,
        aws_secret_access_key=unquote(url.password) if url.password else None,
        # Longer than a long poll, which is silent for twenty seconds.
        config=Config(
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=CONNECTIONS,
            connect_timeout=5,
            read_timeout=40,
        ),
    )


def code_of(error: Exception) -> str:
    """Amazon's word for what went wrong; "" where it did not say."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
