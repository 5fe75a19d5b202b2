"""django-q2 alone with its ORM broker, tuned; the database is set up as ours is."""

import os

import environ

SECRET_KEY = "benchmark"
USE_TZ = True
INSTALLED_APPS = ["django_q"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": environ.Env.db_url_config(os.environ["DATABASE_URL"]) | {"CONN_MAX_AGE": None}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
Q_CLUSTER = {
    "name": "bench",
    "orm": "default",
    "workers": 2,
    "bulk": 50,
    "queue_limit": 100,
    "poll": 0.02,
    "save_limit": -1,
    "timeout": 60,
    "retry": 600,
    "max_attempts": 1,
    "recycle": 1_000_000,
    "guard_cycle": 1,
    "scheduler": False,
    "catch_up": False,
    "log_level": "ERROR",
}
LOGGING = {"version": 1, "root": {"level": "ERROR"}, "loggers": {"django-q": {"level": "ERROR"}}}
