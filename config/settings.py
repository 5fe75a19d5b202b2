"""All settings, read from the environment in this one module, each with a working default.

The names that start with OFFLOADING_ are ours and are described in docs/reference/settings.md; the rest is Django's.
Other modules read `django.conf.settings`, never the environment.
"""

import hashlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import environ

from config import secret

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# --- Where things lie ---------------------------------------------------------------------------------------------
# HOME belongs to one instance (its sling.id and keys); DATA to the installation (database, blobs, secret key).

OFFLOADING_HOME = Path(env.str("OFFLOADING_HOME", default=str(BASE_DIR / "var"))).resolve()
OFFLOADING_DATA = Path(env.str("OFFLOADING_DATA", default=str(OFFLOADING_HOME))).resolve()
OFFLOADING_BLOBS = Path(env.str("OFFLOADING_BLOBS", default=str(OFFLOADING_DATA / "blobs"))).resolve()

# --- This instance ------------------------------------------------------------------------------------------------

OFFLOADING_HOST = env.str("OFFLOADING_HOST", default="127.0.0.1")
OFFLOADING_PORT = env.int("OFFLOADING_PORT", default=4502)
OFFLOADING_ENDPOINT = env.str("OFFLOADING_ENDPOINT", default=f"http://{OFFLOADING_HOST}:{OFFLOADING_PORT}/")
OFFLOADING_NAME = env.str("OFFLOADING_NAME", default="")
OFFLOADING_DESCRIPTION = env.str("OFFLOADING_DESCRIPTION", default="")
OFFLOADING_WORKERS = env.int("OFFLOADING_WORKERS", default=2)
OFFLOADING_STOP_SECONDS = env.int("OFFLOADING_STOP_SECONDS", default=20)
# Set by `runinstance` for its children: names one run of this instance. Empty in every other process.
OFFLOADING_RUNTIME_ID = env.str("OFFLOADING_RUNTIME_ID", default="")

# --- Topology -----------------------------------------------------------------------------------------------------

OFFLOADING_HEARTBEAT_SECONDS = env.float("OFFLOADING_HEARTBEAT_SECONDS", default=2.0)
OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS = env.float("OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS", default=10.0)
OFFLOADING_CONNECTOR_URLS = env.list("OFFLOADING_CONNECTOR_URLS", default=[])
OFFLOADING_CONNECTOR_PING_SECONDS = env.float("OFFLOADING_CONNECTOR_PING_SECONDS", default=5.0)
OFFLOADING_CONNECTOR_TIMEOUT_SECONDS = env.float("OFFLOADING_CONNECTOR_TIMEOUT_SECONDS", default=20.0)
OFFLOADING_CONNECTOR_WHITELIST = env.list("OFFLOADING_CONNECTOR_WHITELIST", default=["localhost", "127.0.0.1"])
# With a shared key, connectors sign (HMAC) and encrypt, and the whitelist is not looked at. Without, it decides.
OFFLOADING_CONNECTOR_SHARED_KEY = env.str("OFFLOADING_CONNECTOR_SHARED_KEY", default="")
OFFLOADING_CONNECTOR_KEY_TTL_SECONDS = env.int("OFFLOADING_CONNECTOR_KEY_TTL_SECONDS", default=14_400)

# --- Jobs, transport, assets --------------------------------------------------------------------------------------

OFFLOADING_JOB_RETRIES = env.int("OFFLOADING_JOB_RETRIES", default=10)
OFFLOADING_JOB_RETRY_DELAY_SECONDS = env.float("OFFLOADING_JOB_RETRY_DELAY_SECONDS", default=2.0)
OFFLOADING_DISABLE_DISTRIBUTION = env.bool("OFFLOADING_DISABLE_DISTRIBUTION", default=False)
# How long finished jobs stay, in days, by their state; 0 = for ever.
OFFLOADING_HISTORY_DAYS_SUCCEEDED = env.float("OFFLOADING_HISTORY_DAYS_SUCCEEDED", default=7.0)
OFFLOADING_HISTORY_DAYS_STOPPED = env.float("OFFLOADING_HISTORY_DAYS_STOPPED", default=30.0)
OFFLOADING_HISTORY_DAYS_GIVEN_UP = env.float("OFFLOADING_HISTORY_DAYS_GIVEN_UP", default=90.0)
OFFLOADING_HISTORY_DAYS_ERROR = env.float("OFFLOADING_HISTORY_DAYS_ERROR", default=90.0)
OFFLOADING_HISTORY_DAYS_DROPPED = env.float("OFFLOADING_HISTORY_DAYS_DROPPED", default=2.0)
# How long a running job that was asked to stop has for that before its worker is ended.
OFFLOADING_JOB_STOP_SECONDS = env.float("OFFLOADING_JOB_STOP_SECONDS", default=10.0)
# Modules of other packages to import for their consumers.
OFFLOADING_CONSUMERS = env.list("OFFLOADING_CONSUMERS", default=[])
# What Prometheus sends as bearer token to /metrics; without, only staff get it.
OFFLOADING_METRICS_TOKEN = env.str("OFFLOADING_METRICS_TOKEN", default="")
OFFLOADING_TRANSPORT_BLOCK_BYTES = env.int("OFFLOADING_TRANSPORT_BLOCK_BYTES", default=4 * 1024 * 1024)
OFFLOADING_TRANSPORT_CLOCK_SECONDS = env.int("OFFLOADING_TRANSPORT_CLOCK_SECONDS", default=30)
OFFLOADING_UPLOAD_BYTES = env.int("OFFLOADING_UPLOAD_BYTES", default=2 * 1024**3)
OFFLOADING_MAX_PIXELS = env.int("OFFLOADING_MAX_PIXELS", default=300_000_000)

# --- Django -------------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or secret.read_or_make(OFFLOADING_DATA / "secret.key")
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS",
    default=[
        "localhost",
        "127.0.0.1",
        "[::1]",
        OFFLOADING_HOST,
        socket.gethostname(),
        urlsplit(OFFLOADING_ENDPOINT).hostname or OFFLOADING_HOST,
    ],
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Cookies do not see ports: two installations on one host would log each other's users out without names of their own.
# Instances of one cluster share key, database and so the session: one log-in serves them all.
_COOKIE_SUFFIX = hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:8]
SESSION_COOKIE_NAME = env.str("SESSION_COOKIE_NAME", default=f"offloading_session_{_COOKIE_SUFFIX}")
CSRF_COOKIE_NAME = env.str("CSRF_COOKIE_NAME", default=f"offloading_csrf_{_COOKIE_SUFFIX}")
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "heroicons",
    "rest_framework",
    "rest_framework.authtoken",
    "template_partials",
    "config",
    "config.live",
    "content",
    "topology",
    "offloading",
    "workflow",
    "dam",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.screens.ScreenMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.toasts.ToastMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
# In the session, not in a cookie: two installations on one host would throw each other's away.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context_processors.shell",
            ],
        },
    },
]

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{OFFLOADING_DATA / 'offloading.sqlite3'}")}
DATABASES["default"]["CONN_MAX_AGE"] = 600
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE: a transaction that will write takes the write lock first, so it never fails half-way with "locked".
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Workers reach people's browsers through the outbox table (config/live), so this layer never leaves the web process.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# django-q2 only executes: jobs, retries and results are ours. One cluster per worker slot (offloading/jobs/slots.py).
Q_CLUSTER = {
    "name": "offloading",
    "broker_class": "offloading.jobs.broker.DispatcherBroker",
    "workers": 1,
    "queue_limit": 1,
    "bulk": 1,
    "max_attempts": 1,
    # django-q2 neither ends nor repeats our jobs; it only insists on a limit, and on a retry above it.
    "timeout": 7 * 86_400,
    "retry": 8 * 86_400,
    "ack_failures": True,
    "save_limit": -1,
    "recycle": 5_000,
    "guard_cycle": 0.5,
    "scheduler": False,
    "catch_up": False,
    "log_level": "WARNING",
    "ALT_CLUSTERS": {},
}

# The API; what is the same for all its addresses stands here, the rest in offloading/api.
REST_FRAMEWORK = {
    # The first one says what a caller without credentials is asked for: 401, not 403.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "offloading.api.access.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["offloading.api.access.StaffChanges"],
    "DEFAULT_PARSER_CLASSES": ["offloading.api.bodies.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["offloading.api.problems.Renderer"],
    "DEFAULT_SCHEMA_CLASS": "offloading.api.schema.Schema",
    "EXCEPTION_HANDLER": "offloading.api.problems.handle",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Offloading",
    "DESCRIPTION": "Jobs, queues, schedules, failures and statistics of an installation. See docs/reference/api.md.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["offloading.api.access.StaffChanges"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "JobState": "offloading.models.JobState",
        "QueueType": "offloading.models.QueueType",
        "QueuePriority": "offloading.models.QueueConfiguration.Priority",
        "PauseKind": "offloading.models.Pause.Kind",
        "Misfire": "offloading.models.ScheduledJob.Misfire",
        "QueryType": "offloading.jobs.query.QueryType",
        "ScheduleType": "offloading.jobs.schedules.Type",
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served straight from the finders: no collectstatic step between a clone and a running instance.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
FILE_UPLOAD_TEMP_DIR = env.str("FILE_UPLOAD_TEMP_DIR", default="") or None

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "config.logs.FactsFormatter", "format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "uvicorn.access": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "pyvips": {"level": "WARNING"},
    },
}
