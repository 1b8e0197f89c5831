"""The environment, typed. Nothing else in the project reads ``os.environ``.

A variable that is not set is looked up in ``var/run/platform.env``, which `make up` keeps while it runs, so that a
second terminal of the same checkout talks to the running platform.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent
PLATFORM_ENV_FILE = BASE_DIR / "var/run/platform.env"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split)]


def _address(url: str) -> SplitResult:
    """The URL in its parts. ValueError that quotes nothing of it, since what is wrong is often the password."""
    try:
        address = urlsplit(url)
        if address.scheme != "sqlite":  # sqlite://:memory: has no port, and no login
            _ = address.port  # read only when asked for
    except ValueError:
        raise ValueError("can not be read; in a login write / as %2F, # as %23, @ as %40") from None
    return address


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if _address(value).scheme not in schemes:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return AfterValidator(check)


def _nodes(*schemes: str) -> AfterValidator:
    """One URL a node of a cluster, joined by ";" as kombu takes them; an empty text names none."""

    def check(value: str) -> str:
        urls = [url.strip() for url in value.split(";") if value]
        addresses = [_address(url) for url in urls]
        if any(address.scheme not in schemes for address in addresses):
            each = "every node's URL " if len(urls) > 1 else ""
            raise ValueError(f"{each}must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if len({(address.scheme, address.path) for address in addresses}) > 1:
            raise ValueError("the nodes of one cluster are reached by the same scheme and path")
        return ";".join(urls)

    return AfterValidator(check)


def _origins(values: list[str]) -> list[str]:
    for value in values:
        address = _address(value)
        if (
            address.scheme not in ("http", "https")
            or not address.hostname
            or value != f"{address.scheme}://{address.netloc}"
        ):
            raise ValueError(f"{value!r} is no origin; write it like https://app.example.com, without a path")
    return values


def _providers(values: list[SecretStr]) -> list[SecretStr]:
    for value in values:
        if "://" not in value.get_secret_value():
            raise ValueError("holds an address without a scheme; write it like twilio://sid:token@from")
    if not values:
        raise ValueError("names no provider; file:// writes to var/outbox")
    return values


def _sinks(values: list[str]) -> list[str]:
    for value in values:
        kind, _, where = value.partition(":")
        if value != "exchange" and not (kind in ("kafka", "sns") and where):
            raise ValueError(f"names {value!r}; there are exchange, kafka:TOPIC and sns:ARN")
    return values


def _secret_options(values: list[SecretStr]) -> list[SecretStr]:
    for value in values:
        if not value.get_secret_value().partition("=")[2]:
            raise ValueError("is written like security.protocol=SASL_SSL,sasl.mechanism=PLAIN, in librdkafka's words")
    return values


class Env(BaseSettings):
    """Every variable of the platform, with a default that suits a laptop where one can exist."""

    model_config = SettingsConfigDict(env_file=PLATFORM_ENV_FILE, extra="ignore", hide_input_in_errors=True)

    secret_key: SecretStr = Field(min_length=4, description="Signs sessions; `make up` generates one under var/.")
    secret_key_fallbacks: Annotated[list[SecretStr], NoDecode, BeforeValidator(_split)] = Field(
        [], description="Earlier SECRET_KEYs, separated by commas: sessions and webhook secrets of theirs still hold."
    )
    debug: bool = Field(False, description="Django's debug pages. Never in production.")
    allowed_hosts: CommaSeparated = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="Host names this site answers to, separated by commas."
    )
    csrf_trusted_origins: CommaSeparated = Field(
        [], description="Origins (https://host) whose forms are trusted, separated by commas."
    )
    cors_allowed_origins: Annotated[CommaSeparated, AfterValidator(_origins)] = Field(
        [], description="Origins (https://host) whose pages may call the API from a browser, separated by commas."
    )
    cors_allow_credentials: bool = Field(
        False, description="Their pages may use the staff session as well; without it they need a token."
    )

    broker_url: Annotated[str, _nodes("amqp", "amqps", "sqs", "memory")] = Field(
        min_length=1,
        description="Where messages travel: `amqp://` (the nodes of a cluster are separated by `;`) or `sqs://region`.",
    )
    broker_heartbeat_seconds: int = Field(
        20, ge=2, description="A broker or worker silent for twice this long is taken for gone by the other."
    )
    broker_ack_timeout_seconds: int = Field(
        1800,
        ge=1,
        description="The broker's own `consumer_timeout`, which no client can ask for; `doctor` compares it.",
    )
    rabbitmq_api_url: Annotated[str, _nodes("http", "https")] = Field(
        "",
        description="RabbitMQ's management API, http://user:password@host:15672/api/; for policies and Flower. "
        "A `;` separates the nodes of a cluster.",
    )
    database_url: Annotated[str, _url("postgres", "postgresql", "sqlite")] = Field(
        description="The primary database: the truth about every job."
    )
    database_prepared_statements: bool = Field(
        True, description="Turn off behind PgBouncer before 1.21 in transaction mode, which mixes them up."
    )
    redis_url: Annotated[str, _url("redis", "rediss", "unix")] | None = Field(
        None,
        description="Cache of the web processes, and their common count of requests; everything works without it.",
    )

    email_url: Annotated[str, _url("smtp", "smtps", "smtp+tls", "file", "console", "memory")] = Field(
        "file://",
        description="Where e-mail goes: `smtp://`, `smtp+tls://` (STARTTLS) or `smtps://` user:password@host; "
        "`file://` writes to var/outbox/email.",
    )
    sms_urls: Annotated[list[SecretStr], NoDecode, BeforeValidator(_split), AfterValidator(_providers)] = Field(
        ["file://"],
        validate_default=True,
        description="Where SMS go: an address of Apprise without recipients, like `twilio://sid:token@from`. "
        "Several, separated by commas, are tried in turn; `file://` writes to var/outbox/sms.",
    )
    push_urls: Annotated[list[SecretStr], NoDecode, BeforeValidator(_split), AfterValidator(_providers)] = Field(
        ["file://"],
        validate_default=True,
        description="Where push messages go, as with SMS_URLS: `ntfys://host`, `pover://user@token`; "
        "`file://` writes to var/outbox/push.",
    )
    default_from_email: str = Field("platform@localhost", description="Sender of e-mail that names none.")

    admins: CommaSeparated = Field(
        [], description="Addresses that alerts are mailed to, separated by commas; Django's ADMINS."
    )

    extra_apps: CommaSeparated = Field([], description="Your own Django apps, separated by commas.")

    behind_tls_proxy: bool = Field(
        False, description="A proxy in front ends TLS and sets X-Forwarded-Proto; cookies are then for https only."
    )

    port: int = Field(8000, ge=1, le=65535, description="Where `make up` listens, on loopback.")
    stream_port: int = Field(8001, ge=1, le=65535, description="Where `make up` serves streams, on loopback.")
    flower_port: int = Field(5555, ge=1, le=65535, description="Where Flower listens, on loopback.")
    flower_basic_auth: SecretStr = Field(
        SecretStr(""), description="`user:password` that Flower asks for; off loopback it does not start without."
    )
    flower_url: str = Field("", description="Link to Flower in the admin; empty hides it.")

    operator_name: str = Field("operator", description="Whom `manage.py ensure_operator` creates.")
    operator_password: SecretStr = Field(SecretStr(""), description="That login's password; `make up` makes one.")

    job_events: Annotated[CommaSeparated, AfterValidator(_sinks)] = Field(
        [],
        description="Where every change of a job is told, separated by commas: `exchange` is the topic exchange "
        "`job-events` of the broker, `kafka:TOPIC` and `sns:ARN` are topics there. Empty: nowhere.",
    )
    sqs_endpoint_url: Annotated[str, _url("http", "https", "")] = Field(
        "", description="Where SQS and SNS are, if not at Amazon's: for tests."
    )
    sqs_queue_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,40}$",
        description="Begins the names of our queues, in an account that is shared.",
    )
    sqs_visibility_seconds: int = Field(
        300, ge=1, le=43_200, description="How long a worker that died keeps a message; a living one extends it."
    )
    sqs_wait_seconds: int = Field(
        20,
        ge=0,
        le=20,
        description="How long a poll of SQS waits for a message; a stopping worker waits as long for it.",
    )
    kafka_bootstrap_servers: str = Field("", description="Brokers of Kafka, host:port, separated by commas.")
    kafka_group: str = Field("task-platform", min_length=1, description="The consumer group of `bridge kafka`.")
    kafka_topics: CommaSeparated = Field(
        ["emails", "reports", "images"], min_length=1, description="Topics that `bridge kafka` reads."
    )
    kafka_options: Annotated[list[SecretStr], NoDecode, BeforeValidator(_split), AfterValidator(_secret_options)] = (
        Field(
            [],
            description="Further settings of librdkafka, separated by commas: "
            "`security.protocol=SASL_SSL,sasl.mechanism=PLAIN,sasl.username=…,sasl.password=…`.",
        )
    )

    max_payload_bytes: int = Field(262_144, ge=1, description="Largest payload of one job, as JSON.")
    max_body_bytes: int = Field(
        10_485_760, ge=1, description="Largest JSON body of a request: what a batch of jobs may have together."
    )
    max_upload_bytes: int = Field(104_857_600, ge=1, description="Largest file uploaded with a form.")
    max_waiting_requests: int = Field(
        12,
        ge=0,
        description="Requests that may wait by `Prefer: wait` in one web process, each in a thread; further ones are "
        "answered at once.",
    )
    max_streams: int = Field(1000, ge=1, description="Streams that one streaming process keeps open.")
    max_streams_per_caller: int = Field(100, ge=1, description="How many of them one token or user may have.")
    api_rate_per_minute: int = Field(
        6000,
        ge=0,
        description="Requests a minute of a token that has no limit of its own; 0: any number. "
        "Without REDIS_URL each process counts for itself.",
    )
    health_max_messages: int = Field(1000, ge=0, description="/health/queue warns past this many messages in a queue.")
    relay_grace_seconds: float = Field(
        15.0, gt=0, description="How long a queued job may wait unclaimed before its message is looked for."
    )
    worker_stale_seconds: float = Field(
        20.0, ge=5, description="A worker silent for this long is lost, and its running attempts with it."
    )
    poison_limit: int = Field(
        3,
        ge=1,
        description="A job that took this many processes with it is dead, whatever attempts its policy has left.",
    )
    shutdown_grace_seconds: float = Field(
        25.0, ge=0, description="How long a stopping worker lets its attempts run before it hands them back, unspent."
    )
    idle_restart_seconds: float = Field(
        60.0, ge=0, description="A worker idle for this long with messages in its queues starts itself anew; 0: never."
    )
    edit_approval: bool = Field(
        False, description="An edited dead letter is replayed once a second person has approved the edit."
    )
    retain_jobs_days: int = Field(30, ge=1, description="Finished jobs older than this are pruned.")
    release: str = Field(
        "", max_length=100, description="This build's version, or its commit. What dies is kept with it."
    )
    dead_letter_keep_days: int = Field(
        14, ge=1, description="How long a discarded dead letter, or a purged job, can be restored."
    )
    webhook_allow_http: bool = Field(
        False, description="Webhooks may go to `http://`, unencrypted. For development and tests."
    )
    webhook_allow_private: bool = Field(
        False, description="Webhooks may go to private and loopback addresses. For development and tests."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe line logged.")

    @model_validator(mode="after")
    def _broker_has_topics(self) -> Self:
        if "exchange" in self.job_events and self.broker_url.startswith("sqs:"):
            raise ValueError(
                "JOB_EVENTS: names exchange, and BROKER_URL is sqs://, which has none; sns:ARN is Amazon's"
            )
        return self


def load() -> Env:
    """The environment of this process. Ends the process naming each bad or missing variable and its remedy."""
    try:
        return Env()
    except ValidationError as error:
        lines = [f"  {_variable(problem)}{_in_words(problem)}" for problem in error.errors()]
        raise SystemExit(
            "The environment is not usable:\n" + "\n".join(lines) + "\n"
            'Set the variables named above (README, "Configuration"), or start the platform with `make up`, '
            "whose addresses are then used."
        ) from None


def _variable(problem) -> str:
    """Its name; "" where the message begins with it, since several variables contradict each other."""
    return "".join(f"{part}: ".upper() for part in problem["loc"][:1])


def _in_words(problem) -> str:
    return "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
