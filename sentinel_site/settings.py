"""Every setting, each from the environment with a default that runs on a bare machine.

docs/settings.md describes the variables; a test holds the two together.
"""

from __future__ import annotations

import os
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django_stubs_ext
from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from sentinel_site import databases, logs
from sentinel_site.environment import (
    Environment,
    new_signing_key,
    new_vapid_key,
    origin_of_links,
    read_given_secret,
    read_media_storage,
    read_one_of,
    read_rate,
    read_secret,
    read_signing_key,
    read_time_zone,
    secret_is_given,
    vapid_public_key,
)
from sentinel_site.metrics import read_readers

BASE_DIR = Path(__file__).resolve().parent.parent

# Lets Django's generic classes be subscripted with types, as the type checker wants them.
django_stubs_ext.monkeypatch()

env = Environment()

# Everything that a running installation writes lies below this folder.
DATA_DIR = env.path("SENTINEL_DATA_DIR", default=str(BASE_DIR / "var"))
DATA_DIR = Path(str(DATA_DIR)).absolute()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = read_secret("SECRET_KEY", fallback_file=DATA_DIR / "secret_key")
# Earlier keys, whose signatures still hold while the key is being changed: docs/secrets.md.
SECRET_KEY_FALLBACKS = read_given_secret("SECRET_KEY_FALLBACKS").replace(",", " ").split()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "sentinel_site",
    "accounts",
    "media_analysis",
    "reports",
    "twitterbot",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "axes",
    "csp",
]

MIDDLEWARE = [
    # Outside of everything: no answer leaves without its headers.
    "sentinel_site.headers.SecurityHeaders",
    "sentinel_site.guards.ZeroBytes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "csp.middleware.CSPMiddleware",
    # Outside of whatever looks into answers, the one that gives them ETags among them.
    "sentinel_site.compression.CompressPages",
    "sentinel_site.outage.Outage",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    # Every answer that may be kept gets an ETag: who polls an unchanged analysis is answered 304 without a body.
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.WebSessionMiddleware",
    "accounts.middleware.LogRefusals",
    "accounts.language.AccountLanguageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    # Before the CSRF check: an oversized body was not read, so its token is not there either.
    "media_analysis.middleware.OversizedBodyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.middleware.RateLimitHeaders",
    "media_analysis.middleware.CustodyMiddleware",
    "accounts.middleware.AdminMiddleware",
    "media_analysis.middleware.RefusedMethodMiddleware",
    "media_analysis.middleware.StorageTroubleMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sentinel_site.urls"
ASGI_APPLICATION = "sentinel_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # An operator's own wording of a paper or page goes before ours.
        "DIRS": [*env.list("SENTINEL_TEMPLATES_DIR", default=[]), BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Databases
DATABASE_STATEMENT_SECONDS = env.float("DATABASE_STATEMENT_SECONDS", default=60.0)
DATABASES = {
    "default": databases.read(
        env("DATABASE_URL", default=f"sqlite:///{quote(str(DATA_DIR / 'sentinel.sqlite3'))}"),
        DATA_DIR,
        DATABASE_STATEMENT_SECONDS,
    )
}
INSTALLED_APPS = [*databases.engine_apps(DATABASES["default"]), *INSTALLED_APPS]
DEFAULT_AUTO_FIELD = databases.key_field(DATABASES["default"])
MIGRATION_MODULES = databases.migration_modules(DATABASES["default"])

# Accounts
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "accounts.backends.UsernameOrEmailBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "accounts.password_rules.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "accounts.breached.BreachedPasswordValidator"},
]
# A local copy of Pwned Passwords, a folder or a file: docs/accounts.md.
SENTINEL_BREACHED_PASSWORDS_DIR = env("SENTINEL_BREACHED_PASSWORDS_DIR", default="")
# How long a link to a new password holds; it holds once.
PASSWORD_RESET_TIMEOUT = 6 * 3600
LOGIN_URL = reverse_lazy("accounts:login")
LOGIN_REDIRECT_URL = reverse_lazy("home")
LOGOUT_REDIRECT_URL = reverse_lazy("home")
# Guessing is stopped for the pair of name and address: an attacker elsewhere cannot lock the owner out.
AXES_HANDLER = "accounts.lockout.Guard"
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", default=5)
# From all addresses together. With the cool-off below, the hundred in an hour that ASVS 2.2.1 has as the most.
LOGIN_ACCOUNT_FAILURE_LIMIT = env.int("LOGIN_ACCOUNT_FAILURE_LIMIT", default=25)
AXES_COOLOFF_TIME = env.float("LOGIN_COOLOFF_HOURS", default=0.25)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "accounts.addresses.guarded_address"
AXES_USERNAME_CALLABLE = "accounts.lockout.guessed_name"
AXES_LOCKOUT_CALLABLE = "accounts.lockout.answer_locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = True
# The security log has log-ins, and forgets their addresses in time.
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

# Whether the administration is closed to a log-in that only a password stands behind.
SENTINEL_STAFF_SECOND_FACTOR = read_one_of("SENTINEL_STAFF_SECOND_FACTOR", "optional", "required")
# Hours after which a log-in in a browser is over: when nobody used it, and however much it was used.
SENTINEL_SESSION_IDLE_HOURS = env.float("SENTINEL_SESSION_IDLE_HOURS", default=14 * 24.0)
SENTINEL_SESSION_HOURS = env.float("SENTINEL_SESSION_HOURS", default=30 * 24.0)
SENTINEL_STAFF_SESSION_IDLE_HOURS = env.float("SENTINEL_STAFF_SESSION_IDLE_HOURS", default=1.0)
SENTINEL_STAFF_SESSION_HOURS = env.float("SENTINEL_STAFF_SESSION_HOURS", default=12.0)
SESSION_COOKIE_AGE = int(max(SENTINEL_SESSION_HOURS, SENTINEL_STAFF_SESSION_HOURS) * 3600)
# What is kept of log-ins and changes to accounts, and how long of it from where.
SENTINEL_SECURITY_LOG_DAYS = env.float("SENTINEL_SECURITY_LOG_DAYS", default=365.0)
SENTINEL_ADDRESS_DAYS = env.float("SENTINEL_ADDRESS_DAYS", default=90.0)

# E-mail goes to the console until EMAIL_URL names a server.
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="Sentinel <sentinel@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
# Seconds that a mail server may be silent.
EMAIL_TIMEOUT = 10

# Notifications. Links in e-mails begin with this address; without it they hold none.
SENTINEL_URL = env("SENTINEL_URL", default="").rstrip("/")
VAPID_PRIVATE_KEY = read_secret("VAPID_PRIVATE_KEY", fallback_file=DATA_DIR / "vapid_private_key", make=new_vapid_key)
VAPID_PUBLIC_KEY = vapid_public_key(VAPID_PRIVATE_KEY)
# Whom a push service writes to when something is wrong with what we send.
VAPID_CONTACT = env("VAPID_CONTACT", default="mailto:" + parseaddr(DEFAULT_FROM_EMAIL)[1])
SENTINEL_PUSH_TIMEOUT_SECONDS = env.float("SENTINEL_PUSH_TIMEOUT_SECONDS", default=10.0)
SENTINEL_PUSH_RETRY_SECONDS = env.float("SENTINEL_PUSH_RETRY_SECONDS", default=30.0)
# Devices may name any address to push to: private ones, and http, only for tests.
SENTINEL_PUSH_ALLOW_PRIVATE = env.bool("SENTINEL_PUSH_ALLOW_PRIVATE", default=False)

# The seal on what leaves the building: see reports/seal.py and docs/integrity.md.
SENTINEL_SIGNING_KEY = read_signing_key(
    "SENTINEL_SIGNING_KEY", fallback_file=DATA_DIR / "signing_key.pem", make=new_signing_key
)
SENTINEL_SIGNING_KEY_PASSPHRASE = read_given_secret("SENTINEL_SIGNING_KEY_PASSPHRASE")
SENTINEL_TIMESTAMP_URL = env("SENTINEL_TIMESTAMP_URL", default="")
SENTINEL_TIMESTAMP_TIMEOUT_SECONDS = env.float("SENTINEL_TIMESTAMP_TIMEOUT_SECONDS", default=3.0)

# The bot on X (Twitter): see docs/twitter.md. Without keys there is none.
TWITTER_API_KEY = read_given_secret("TWITTER_API_KEY")
TWITTER_API_SECRET = read_given_secret("TWITTER_API_SECRET")
TWITTER_ACCESS_TOKEN = read_given_secret("TWITTER_ACCESS_TOKEN")
TWITTER_ACCESS_TOKEN_SECRET = read_given_secret("TWITTER_ACCESS_TOKEN_SECRET")
# What the bot is called there, for pages that say so.
TWITTER_HANDLE = env("TWITTER_HANDLE", default="").removeprefix("@")
TWITTER_API_URL = env("TWITTER_API_URL", default="https://api.twitter.com")
# The servers on which X keeps videos and photos.
TWITTER_MEDIA_ORIGINS = env.list("TWITTER_MEDIA_ORIGINS", default=["https://video.twimg.com", "https://pbs.twimg.com"])
TWITTER_POLL_SECONDS = env.float("TWITTER_POLL_SECONDS", default=60.0)
TWITTER_TIMEOUT_SECONDS = env.float("TWITTER_TIMEOUT_SECONDS", default=10.0)
TWITTER_RETRY_SECONDS = env.float("TWITTER_RETRY_SECONDS", default=30.0)
# How long X may take to show what it was sent.
TWITTER_DOUBT_SECONDS = env.float("TWITTER_DOUBT_SECONDS", default=15.0)
# Against floods; 0 is no limit.
TWITTER_HOURLY_PER_AUTHOR = env.int("TWITTER_HOURLY_PER_AUTHOR", default=10)
TWITTER_HOURLY_ANSWERS = env.int("TWITTER_HOURLY_ANSWERS", default=200)
TWITTER_PER_CONVERSATION = env.int("TWITTER_PER_CONVERSATION", default=3)
# X bills each post read and each sent. 0 is no limit.
TWITTER_MONTHLY_READS = env.int("TWITTER_MONTHLY_READS", default=20000)
TWITTER_MONTHLY_POSTS = env.int("TWITTER_MONTHLY_POSTS", default=5000)

# Languages
LANGUAGE_CODE = "en"
# By the names that their own readers know.
LANGUAGES = [
    ("en", "English"),
    ("mr", "मराठी"),
    ("hi", "हिन्दी"),
    ("bn", "বাংলা"),
    ("ml", "മലയാളം"),
    ("te", "తెలుగు"),
]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["sentinel_site.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = read_time_zone("TIME_ZONE", "Asia/Kolkata")

# Static files and media
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "media"
# Where the proxy in front has the media folder, for it to send files in our place; empty and we send them.
SENTINEL_ACCEL_PREFIX = env("SENTINEL_ACCEL_PREFIX", default="")
MEDIA_URL = ""  # No media file has a URL of its own: views hand them out after asking who may see them.
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "media_analysis.storage.FolderStorage"},
    "staticfiles": {"BACKEND": "sentinel_site.storage.StaticStorage"},
}
# Media with an S3-compatible server instead, for several hosts: see docs/storage.md.
MEDIA_STORAGE_URL = env("MEDIA_STORAGE_URL", default="")
SENTINEL_STORAGE_TIMEOUT_SECONDS = env.float("SENTINEL_STORAGE_TIMEOUT_SECONDS", default=10.0)
# Browsers get originals from that server by links that are good for so long; 0, and they get them from us.
SENTINEL_MEDIA_LINK_SECONDS = env.int("SENTINEL_MEDIA_LINK_SECONDS", default=0)
# The origin of these links, if there are any.
SENTINEL_MEDIA_ORIGIN = ""
if MEDIA_STORAGE_URL:
    storage_options = read_media_storage(MEDIA_STORAGE_URL)
    if SENTINEL_MEDIA_LINK_SECONDS:
        SENTINEL_MEDIA_ORIGIN = origin_of_links(storage_options)
    # Without a key of ours, boto3 looks for the machine's own.
    if access_key := read_given_secret("AWS_ACCESS_KEY_ID"):
        storage_options |= {"access_key": access_key, "secret_key": read_given_secret("AWS_SECRET_ACCESS_KEY")}
    storage_options["timeout"] = SENTINEL_STORAGE_TIMEOUT_SECONDS
    STORAGES["default"] = {"BACKEND": "media_analysis.object_storage.ObjectStorage", "OPTIONS": storage_options}
# Keys that were made on this host, which no other host has.
SENTINEL_KEYS_MADE_HERE = [
    name for name in ("SECRET_KEY", "VAPID_PRIVATE_KEY", "SENTINEL_SIGNING_KEY") if not secret_is_given(name)
]
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
# On the same disk as MEDIA_ROOT, so that an accepted upload is moved, not copied.
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "incoming"
FILE_UPLOAD_HANDLERS = ["media_analysis.uploads.HashingUploadHandler"]
# Where workers put originals while they examine them, if media lie elsewhere, and how much of them at a time.
SENTINEL_SCRATCH_DIR = Path(env("SENTINEL_SCRATCH_DIR", default=str(DATA_DIR / "scratch")))
SENTINEL_SCRATCH_BYTES = env.int("SENTINEL_SCRATCH_BYTES", default=2 * 1024 * 1024 * 1024)
# So much is left free on every disk that is written to: uploads are refused before.
SENTINEL_MIN_FREE_BYTES = env.int("SENTINEL_MIN_FREE_BYTES", default=256 * 1024 * 1024)
for folder in (DATA_DIR, MEDIA_ROOT, FILE_UPLOAD_TEMP_DIR):
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)

# Limits on what comes in (the command line takes any length)
SENTINEL_MAX_UPLOAD_BYTES = env.int("SENTINEL_MAX_UPLOAD_BYTES", default=100 * 1024 * 1024)
SENTINEL_MAX_DURATION_SECONDS = env.int("SENTINEL_MAX_DURATION_SECONDS", default=60)
SENTINEL_MAX_FRAME_RATE = env.int("SENTINEL_MAX_FRAME_RATE", default=30)
SENTINEL_MAX_UPLOADS = env.int("SENTINEL_MAX_UPLOADS", default=5)
SENTINEL_UPLOAD_EXPIRY_HOURS = env.float("SENTINEL_UPLOAD_EXPIRY_HOURS", default=24.0)
# Files are deleted so many days after they were received; 0 keeps them.
SENTINEL_RETENTION_DAYS = env.int("SENTINEL_RETENTION_DAYS", default=0)
SENTINEL_RETENTION_NOTICE_DAYS = env.int("SENTINEL_RETENTION_NOTICE_DAYS", default=7)
SENTINEL_RETENTION_SPARES_OPEN_CASES = env.bool("SENTINEL_RETENTION_SPARES_OPEN_CASES", default=True)
# Reports over cases and exports of them are kept so long once they are made.
SENTINEL_CASE_DOCUMENT_HOURS = env.float("SENTINEL_CASE_DOCUMENT_HOURS", default=24.0)
SENTINEL_DAILY_LIMIT = env.int("SENTINEL_DAILY_LIMIT", default=10)
SENTINEL_DAILY_LIMIT_TIME_ZONE = read_time_zone("SENTINEL_DAILY_LIMIT_TIME_ZONE", "Asia/Kolkata")

# Links that are fetched: from these sites and their subdomains by yt-dlp, from all others only files themselves.
SENTINEL_LINK_SITES = env.list(
    "SENTINEL_LINK_SITES",
    default=[
        *("youtube.com", "youtu.be", "x.com", "twitter.com", "facebook.com", "fb.watch", "instagram.com"),
        *("reddit.com", "redd.it", "v.redd.it", "tiktok.com", "vimeo.com", "dailymotion.com", "dai.ly"),
    ],
)
SENTINEL_LINK_FETCHERS = env.int("SENTINEL_LINK_FETCHERS", default=2)
SENTINEL_LINK_TIMEOUT_SECONDS = env.float("SENTINEL_LINK_TIMEOUT_SECONDS", default=300.0)
# Of a video of which only a part is examined, the whole is fetched, up to this size.
SENTINEL_LINK_MAX_BYTES = env.int("SENTINEL_LINK_MAX_BYTES", default=500 * 1024 * 1024)
# Addresses as 127.0.0.1:8000 that links may lead to although they are private: only for tests.
SENTINEL_LINK_ALLOW_PRIVATE = env.list("SENTINEL_LINK_ALLOW_PRIVATE", default=[])

# Detection
SENTINEL_DETECTOR = env("SENTINEL_DETECTOR", default="sentinel-lite")
SENTINEL_DETECTOR_WEIGHTS = env.list("SENTINEL_DETECTOR_WEIGHTS", default=[])
SENTINEL_WEIGHTS_DIR = Path(env("SENTINEL_WEIGHTS_DIR", default=str(DATA_DIR / "weights")))
# `ml` runs without Django and reads these variables itself, also in processes started from here.
os.environ["SENTINEL_WEIGHTS_DIR"] = str(SENTINEL_WEIGHTS_DIR)
os.environ["SENTINEL_ENGINE_CACHE_DIR"] = env("SENTINEL_ENGINE_CACHE_DIR", default=str(DATA_DIR / "engines"))

SENTINEL_STABILITY_CHECK = env.bool("SENTINEL_STABILITY_CHECK", default=True)

# Queue
SENTINEL_MAX_ATTEMPTS = 3
SENTINEL_HEARTBEAT_SECONDS = env.float("SENTINEL_HEARTBEAT_SECONDS", default=5.0)
# A running analysis with no heartbeat for so long is taken from its worker.
SENTINEL_STALLED_AFTER_SECONDS = env.float("SENTINEL_STALLED_AFTER_SECONDS", default=30.0)
# What a worker that is told to end has in hand may take so long to finish; then it is given back to the queue.
SENTINEL_DRAIN_SECONDS = env.float("SENTINEL_DRAIN_SECONDS", default=15.0)
# The lanes that the workers of this process's settings serve, and the detectors that analyses may ask for by name, each
# as "name" or "name:lane".
SENTINEL_WORKER_LANES = env.list("SENTINEL_WORKER_LANES", default=["default"])
SENTINEL_OFFERED_DETECTORS = env.list("SENTINEL_OFFERED_DETECTORS", default=[])
# After a job, a worker process that ever took so much memory is replaced by a new one; 0 for never.
SENTINEL_WORKER_MAX_RSS_MB = env.int("SENTINEL_WORKER_MAX_RSS_MB", default=0)
# Where messages to workers go; without it, into the database.
QUEUE_REDIS_URL = env("QUEUE_REDIS_URL", default="")
SENTINEL_ANALYSIS_TIMEOUT_SECONDS = env.int("SENTINEL_ANALYSIS_TIMEOUT_SECONDS", default=900)
# What was shown while an analysis ran, and its sampled frames, are deleted so long after its end.
SENTINEL_LIVE_KEEP_SECONDS = env.float("SENTINEL_LIVE_KEEP_SECONDS", default=60.0)
# Where workers nudge web processes that there is news; without it, those look into the database by themselves.
CHANNEL_REDIS_URL = env("CHANNEL_REDIS_URL", default="")
CHANNEL_LAYERS: dict[str, Any] = {}
if CHANNEL_REDIS_URL:
    redis_host = {"address": CHANNEL_REDIS_URL, "socket_timeout": 10.0, "socket_connect_timeout": 2.0}
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [redis_host], "prefix": "sentinel"},
    }
Q_CLUSTER = {
    "name": "sentinel",
    "label": _("Queue"),
    "orm": "default",
    "broker_class": f"media_analysis.queue_messages.{'RedisBroker' if QUEUE_REDIS_URL else 'DatabaseBroker'}",
    "workers": env.int("SENTINEL_WORKERS", default=1),
    "timeout": SENTINEL_ANALYSIS_TIMEOUT_SECONDS,
    # Must be longer than the time-out, or a long job is handed out twice.
    "retry": SENTINEL_ANALYSIS_TIMEOUT_SECONDS + 100,
    # Tries are counted on the analysis, since the queue does not count those that killed the worker.
    "max_attempts": 1,
    "ack_failures": True,
    # Few in the worker's memory: what lies there while it is busy could wake another.
    "queue_limit": env.int("SENTINEL_WORKERS", default=1),
    "bulk": 1,
    "recycle": 200,
    "max_rss": SENTINEL_WORKER_MAX_RSS_MB * 1024 or None,
    # What became of a job stands on its analysis.
    "save_limit": -1,
    "scheduler": False,
    "catch_up": False,
    "log_level": "WARNING",
}

# Whether a proxy in front says who asks, by which protocol, and under which request id.
SENTINEL_BEHIND_PROXY = env.bool("SENTINEL_BEHIND_PROXY", default=False)

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "accounts.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 20,
    "DEFAULT_THROTTLE_CLASSES": ["accounts.throttles.PerUser", "accounts.throttles.PerAddress"],
    # So many proxies in front are believed about the caller's address; without any, nobody is.
    "NUM_PROXIES": 1 if SENTINEL_BEHIND_PROXY else 0,
    "EXCEPTION_HANDLER": "accounts.api_errors.handle_exception",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Requests in a period (s, min, hour, day); empty for no limit.
SENTINEL_API_RATE_USER = read_rate("SENTINEL_API_RATE_USER", "300/min")
SENTINEL_API_RATE_ANONYMOUS = read_rate("SENTINEL_API_RATE_ANONYMOUS", "60/min")
SENTINEL_CHECK_RATE = read_rate("SENTINEL_CHECK_RATE", "30/min")
SENTINEL_API_RATE_SIGN_UP = read_rate("SENTINEL_API_RATE_SIGN_UP", "30/hour")
SENTINEL_PASSWORD_CHECK_RATE = read_rate("SENTINEL_PASSWORD_CHECK_RATE", "60/min")
# Tokens of the phone apps. A log-in is an AppSession that all its tokens name; see accounts/tokens.py.
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(hours=1),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    # A token holds a digest of the password's hash: whatever changes the password ends it.
    "CHECK_REVOKE_TOKEN": True,
    "USER_ID_FIELD": "public_id",
    "USER_ID_CLAIM": "sub",
    "SIGNING_KEY": SECRET_KEY,
    # Which reads what SECRET_KEY_FALLBACKS signed, too.
    "AUTH_TOKEN_CLASSES": ("accounts.token_keys.AccessToken",),
    "AUTH_HEADER_TYPES": ("Bearer",),
}
# Which sites' scripts may call the API; the pages of this one need none.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_URLS_REGEX = "^(/api/|/users/|/classify|/fetch-history|/pdf|/remove|/get-image)"
# What these scripts may send and read beside what every script may: the tus protocol lives in headers.
TUS_HEADERS = ["tus-resumable", "upload-length", "upload-metadata", "upload-offset"]
CORS_ALLOW_HEADERS = [*default_headers, *TUS_HEADERS, "idempotency-key", "if-none-match", "upload-checksum"]
CORS_EXPOSE_HEADERS = [
    *TUS_HEADERS,
    *("tus-version", "tus-extension", "tus-max-size", "tus-checksum-algorithm", "upload-expires"),
    *("etag", "location", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    "x-request-id",
]

SPECTACULAR_SETTINGS = {
    "TITLE": "Sentinel API",
    "DESCRIPTION": "Tell fabricated videos and photos of people from original ones.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    # For everybody: a token that ran out shuts nobody out.
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Fields of the same name with different choices: what the schema shall call these.
    "ENUM_NAME_OVERRIDES": {
        "AnalysisStatusEnum": "media_analysis.models.Analysis.Status",
        "AnalysisOutcomeEnum": "media_analysis.models.Analysis.Outcome",
        "PictureKindEnum": "media_analysis.result_serializers.PICTURE_KINDS",
        "MediaKindEnum": "media_analysis.models.Media.Kind",
        "CaseStatusEnum": "media_analysis.models.Case.Status",
        "CaseDocumentKindEnum": "reports.models.CaseDocument.Kind",
        "CaseDocumentStateEnum": "reports.models.CaseDocument.State",
        "CaseRoleEnum": "media_analysis.models.CaseRole",
        "InvitedRoleEnum": "media_analysis.case_serializers.ROLES",
    },
    "SERVERS": [{"url": "/", "description": "This site"}],
    "EXTERNAL_DOCS": {"url": "/developers/", "description": "The guide for app developers, with examples to copy"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "sentinel_site.api_schema.complete_schema",
    ],
}

# Security. Cookies and HSTS follow the address the site is served at.
SENTINEL_HTTPS = env.bool("SENTINEL_HTTPS", default=SENTINEL_URL.startswith("https://"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = SENTINEL_HTTPS
SESSION_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
# Browsers take these names only from this very host and by HTTPS: a neighbour in the domain cannot set them.
SESSION_COOKIE_NAME = "__Host-sessionid" if SENTINEL_HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if SENTINEL_HTTPS else "csrftoken"
CSRF_FAILURE_VIEW = "media_analysis.views.csrf_failure"
SECURE_SSL_REDIRECT = SENTINEL_HTTPS
# Machines ask these without a proxy in between.
SECURE_REDIRECT_EXEMPT = [r"^api/v1/(live|ready|health)/$", r"^metrics$"]
# A year, as browsers' lists and ASVS want it.
SECURE_HSTS_SECONDS = env.int("SENTINEL_HSTS_SECONDS", default=31_536_000 if SENTINEL_HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SENTINEL_BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
# Whether a domain is built into browsers is for its owner to say, and is hard to take back.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
# Our pages alone need our static files.
WHITENOISE_ALLOW_ALL_ORIGINS = False
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
if SENTINEL_MEDIA_ORIGIN:
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["img-src"].append(SENTINEL_MEDIA_ORIGIN)
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["media-src"] = [SELF, SENTINEL_MEDIA_ORIGIN]
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["connect-src"] = [SELF, SENTINEL_MEDIA_ORIGIN]

# Watching over it: docs/operations.md. Nothing of this is imported or sent anywhere unless it is asked for.
LOGGING = logs.configuration(env("LOG_FORMAT", default="line"), env("LOG_LEVEL", default="INFO"))
SENTINEL_METRICS = read_readers(env.list("SENTINEL_METRICS", default=[]), read_given_secret("SENTINEL_METRICS_TOKEN"))
if SENTINEL_METRICS:
    MIDDLEWARE = [
        "django_prometheus.middleware.PrometheusBeforeMiddleware",
        *MIDDLEWARE,
        "django_prometheus.middleware.PrometheusAfterMiddleware",
    ]
SENTRY_DSN = read_given_secret("SENTRY_DSN")
# OpenTelemetry's own library reads the other OTEL_ variables itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
OTEL_SERVICE_NAME = env("OTEL_SERVICE_NAME", default="sentinel")
