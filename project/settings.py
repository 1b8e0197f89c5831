"""The one settings module, built from the typed environment (env.py)."""

from typing import Any

import dj_database_url
from corsheaders.defaults import default_headers

from project import env as environment
from project.console import LOGIN_REDIRECT_URL, UNFOLD  # noqa: F401  settings
from project.email_url import email_settings
from tasks.topology import WORK_QUEUE

env = environment.load()
BASE_DIR = environment.BASE_DIR
VAR_DIR = BASE_DIR / "var"

SECRET_KEY = env.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = [key.get_secret_value() for key in env.secret_key_fallbacks]
DEBUG = env.debug
ALLOWED_HOSTS = env.allowed_hosts
CSRF_TRUSTED_ORIGINS = env.csrf_trusted_origins

INSTALLED_APPS = [
    *env.extra_apps,
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "corsheaders",
    "django_celery_results",
    "ninja",  # serves the API's docs from this site; without it they load from a CDN
    "tasks",
    "notifications",
    "reports",
    "media",
]

MIDDLEWARE = [
    "tasks.http.throttling.RateLimitHeaders",
    "project.problems.ProblemMiddleware",
    "project.middleware.BrowserSecurity",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "project.middleware.BrowserSession",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "project.middleware.BrowserUser",
    "project.middleware.BrowserMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if env.cors_allowed_origins:  # else nobody pays for it
    MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *MIDDLEWARE]
CORS_ALLOWED_ORIGINS = env.cors_allowed_origins
CORS_ALLOW_CREDENTIALS = env.cors_allow_credentials
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key", "prefer", "if-none-match", "last-event-id", "cache-control"]
CORS_EXPOSE_HEADERS = [
    "Location",
    "Retry-After",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Link",
    "Preference-Applied",
    "WWW-Authenticate",
]

SILENCED_SYSTEM_CHECKS = ["security.W001"]  # it looks for SecurityMiddleware by its own name

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "project/templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# A connection is kept between requests and checked before use, so that a database restart costs one new connection.
DATABASES = {"default": dj_database_url.parse(env.database_url, conn_max_age=600, conn_health_checks=True)}
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["ENGINE"] = "project.postgresql"
    # Without these, a database that is gone without a word hangs whoever asked it, for up to two hours.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        # For tasks.statements alone: Django's own cursors bind in the client.
        "prepare_threshold": 5 if env.database_prepared_statements else None,
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if env.redis_url:
    CACHES: dict[str, dict[str, Any]] = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": env.redis_url,
            "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},  # a cache that hangs is no cache
        }
    }

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL = "admin:login"
SESSION_COOKIE_HTTPONLY = True
if env.behind_tls_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
DATA_UPLOAD_MAX_MEMORY_SIZE = env.max_body_bytes
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
MEDIA_ROOT = VAR_DIR / "uploads"  # media/ is source code
MEDIA_URL = "/uploads/"  # never routed: files of jobs are served by views that check who asks
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

vars().update(email_settings(env.email_url, outbox=VAR_DIR / "outbox/email"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.default_from_email
SMS_URLS = [url.get_secret_value() for url in env.sms_urls]
PUSH_URLS = [url.get_secret_value() for url in env.push_urls]
OUTBOX_DIR = VAR_DIR / "outbox"
EMAIL_SUBJECT_PREFIX = "[Task platform] "
ADMINS = [(address, address) for address in env.admins]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.log_level},
    # httpx tells every call of the management API; kombu and amqp every frame; urllib3 paths, where some providers of
    # SMS and push have their key
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "amqp", "kombu", "urllib3")},
}

# The platform's own.
TASKS_MAX_PAYLOAD_BYTES = env.max_payload_bytes
TASKS_MAX_UPLOAD_BYTES = env.max_upload_bytes
TASKS_MAX_WAITING_REQUESTS = env.max_waiting_requests
TASKS_MAX_STREAMS = env.max_streams
TASKS_MAX_STREAMS_PER_CALLER = env.max_streams_per_caller
TASKS_API_RATE_PER_MINUTE = env.api_rate_per_minute
TASKS_JOB_EVENTS = env.job_events
TASKS_SQS_ENDPOINT_URL = env.sqs_endpoint_url
TASKS_SQS_QUEUE_PREFIX = env.sqs_queue_prefix
TASKS_SQS_VISIBILITY_SECONDS = env.sqs_visibility_seconds
TASKS_SQS_WAIT_SECONDS = env.sqs_wait_seconds
TASKS_KAFKA_BOOTSTRAP_SERVERS = env.kafka_bootstrap_servers
TASKS_KAFKA_GROUP = env.kafka_group
TASKS_KAFKA_TOPICS = env.kafka_topics
TASKS_KAFKA_OPTIONS = dict(option.get_secret_value().split("=", 1) for option in env.kafka_options)
TASKS_HEALTH_MAX_MESSAGES = env.health_max_messages
TASKS_RELAY_GRACE_SECONDS = env.relay_grace_seconds
TASKS_WORKER_STALE_SECONDS = env.worker_stale_seconds
TASKS_POISON_LIMIT = env.poison_limit
TASKS_SHUTDOWN_GRACE_SECONDS = env.shutdown_grace_seconds
TASKS_IDLE_RESTART_SECONDS = env.idle_restart_seconds
TASKS_BROKER_ACK_TIMEOUT_SECONDS = env.broker_ack_timeout_seconds
TASKS_EDIT_APPROVAL = env.edit_approval
TASKS_RETAIN_JOBS_DAYS = env.retain_jobs_days
TASKS_RELEASE = env.release
TASKS_DEAD_LETTER_KEEP_DAYS = env.dead_letter_keep_days
TASKS_WEBHOOK_ALLOW_HTTP = env.webhook_allow_http
TASKS_WEBHOOK_ALLOW_PRIVATE = env.webhook_allow_private
TASKS_RABBITMQ_API_URL = env.rabbitmq_api_url
TASKS_FLOWER_URL = env.flower_url
TASKS_OPERATOR_NAME = env.operator_name
TASKS_OPERATOR_PASSWORD = env.operator_password.get_secret_value()

# Celery. Its defaults lose a message in most kinds of failure; each line here closes one of them or follows from it.
CELERY_BROKER_URL = env.broker_url
CELERY_BROKER_TRANSPORT_OPTIONS = {"read_timeout": 10, "write_timeout": 10}  # else a half-open socket hangs a worker
CELERY_BROKER_HEARTBEAT = env.broker_heartbeat_seconds
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # the default gives up after 100
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # the default ends the worker
CELERY_TASK_DEFAULT_QUEUE = WORK_QUEUE
CELERY_TASK_CREATE_MISSING_QUEUES = False  # `-Q emial-queue` is an error, not a new queue without dead letters
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ACKS_ON_FAILURE = False
CELERY_TASK_ACKS_ON_TIMEOUT = False
CELERY_TASK_IGNORE_RESULT = True  # the worker's main process records outcomes, in the transaction that changes the job
CELERY_RESULT_BACKEND = None
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SEND_SENT_EVENT = False
CELERY_WORKER_CONSUMER = "tasks.worker.consumer:JobConsumer"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_LOST_WAIT = 2.0  # for the outcome of a child that has died; it lies in the pipe or never will
# A running job is not killed for a lost connection: its outcome is a row, and the redelivered message a duplicate.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SEND_TASK_EVENTS = True  # for Flower; nothing the platform promises depends on them
# Replies to remote control: the next connection of a pool must be able to read them. Workers' own: worker/mailbox.py.
CELERY_CONTROL_QUEUE_EXCLUSIVE = False
CELERY_CONTROL_QUEUE_DURABLE = True
if env.broker_url.startswith("sqs:"):  # it has no fan-out, by which events and remote control travel
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "run/beat-schedule")
CELERY_BEAT_SCHEDULE = {"prune": {"task": "platform.prune", "schedule": 3600.0}}
