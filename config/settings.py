"""The one settings file. Everything that varies comes from the environment; `NAME_FILE` reads a secret from a file.

With nothing set this is a development installation: embedded PostgreSQL and Redis, the payment sandbox, `DEBUG` on.
`DEBUG=false` needs SECRET_KEY, KEY_HASH_SECRET, DATABASE_URL, REDIS_URL, ALLOWED_HOSTS and PUBLIC_URL.
"""

import hashlib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import environ
from csp.constants import NONCE, NONE, SELF  # noqa: F401
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()
environ.Env.read_env(BASE_DIR / ".env", overwrite=False)

DEBUG = env.bool("DEBUG", default=True)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}").rstrip("/")
CLOCK_OFFSET = env.str("CLOCK_OFFSET", default="")
if CLOCK_OFFSET and not DEBUG:
    raise ImproperlyConfigured("CLOCK_OFFSET moves the clock of a development installation. Unset it, with DEBUG off.")


def _development_secret(name: str) -> str:
    """A stable, worthless secret for development; production must set its own."""
    if not DEBUG:
        raise ImproperlyConfigured(f"Set {name}: with DEBUG off there is no default for it.")
    return hashlib.sha256(f"{name} for development only".encode()).hexdigest()


SECRET_KEY = env.str("SECRET_KEY", default="") or _development_secret("SECRET_KEY")
KEY_HASH_SECRET = env.str("KEY_HASH_SECRET", default="") or _development_secret("KEY_HASH_SECRET")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])
SITE_NAME = env.str("SITE_NAME", default="Meterhall")
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", default="support@example.com")

# --- Apps ---------------------------------------------------------------------------------------------------------
# The sandbox speaks the payment provider's API for development and tests; it refuses to load with DEBUG off.
SANDBOX_ENABLED = env.bool("SANDBOX_ENABLED", default=DEBUG and not env.str("STRIPE_SECRET_KEY", default=""))

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "config.admin_app.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "config",
    "accounts",
    "billing",
    "subscriptions",
    "gateway",
    "refunds",
    "support",
    *(["sandbox"] if SANDBOX_ENABLED else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.trace_id",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "accounts.middleware.member_preferences",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context.portal",
                "config.context.wallet",
            ],
            "builtins": ["config.templatetags.ui"],
        },
    }
]

# --- Data ---------------------------------------------------------------------------------------------------------
if env.str("DATABASE_URL", default="") and env.str("REDIS_URL", default=""):
    _database_url, REDIS_URL = env.str("DATABASE_URL"), env.str("REDIS_URL")
elif not DEBUG:
    raise ImproperlyConfigured("Set DATABASE_URL and REDIS_URL: the embedded services are for development.")
else:
    from config import embedded

    _embedded = embedded.urls(DATA_DIR)
    _database_url = env.str("DATABASE_URL", default="") or _embedded[0]
    REDIS_URL = env.str("REDIS_URL", default="") or _embedded[1]

DATABASES = {"default": env.db_url_config(_database_url)}
DATABASES["default"]["CONN_MAX_AGE"] = 0
_options = DATABASES["default"].setdefault("OPTIONS", {})
# A unix socket comes as `?host=/folder&port=5432`; Django's own place for both is beside the options.
DATABASES["default"]["HOST"] = DATABASES["default"]["HOST"] or _options.pop("host", "")
DATABASES["default"]["PORT"] = DATABASES["default"]["PORT"] or _options.pop("port", "")
if env.bool("DATABASE_POOL", default=True):
    # Under ASGI each request runs in its own thread, so connections are kept in psycopg's pool, not in the thread.
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": env.int("DATABASE_POOL_SIZE", default=16),
        "timeout": 3,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "mh"}
}

# --- Celery -------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or REDIS_URL
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ALWAYS_EAGER = False
# Mails wait while there is money to be moved: with Redis 0, the default, comes first.
CELERY_TASK_ROUTES = {
    name: {"priority": 6} for name in ("billing.tasks.send_notice", "billing.payments.tasks.send_receipt")
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A task that a killed worker held comes back after this long; sweeps find it sooner.
    "visibility_timeout": 600,
    "global_keyprefix": env.str("CELERY_KEY_PREFIX", default=""),
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0.1,
}
# Publishing must never hold a customer up: one try, then the sweep finds the row.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- People -------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/overview"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "http" if DEBUG else "https"
ACCOUNT_EMAIL_SUBJECT_PREFIX = f"[{SITE_NAME}] "
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = SITE_NAME
MFA_FORMS: dict[str, str] = {}
STAFF_MFA_REQUIRED = env.bool("STAFF_MFA_REQUIRED", default=False)
USERSESSIONS_TRACK_ACTIVITY = False

# --- Mail ---------------------------------------------------------------------------------------------------------
MAILBOX_ENABLED = DEBUG
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default=f"{SITE_NAME} <billing@example.com>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
if env.str("EMAIL_URL", default=""):
    vars().update(env.email_url("EMAIL_URL"))
else:
    EMAIL_BACKEND = "config.mailbox.MailboxBackend" if DEBUG else "django.core.mail.backends.smtp.EmailBackend"

# --- Languages and time -------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Static files -------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "config.finders.PackageFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "media"}},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

# --- Keeping others out -------------------------------------------------------------------------------------------
ADMIN_PATH = env.str("ADMIN_PATH", default="admin/")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = not DEBUG
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 0 if DEBUG else env.int("SECURE_HSTS_SECONDS", default=31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- API ----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ManagementKeyAuthentication",
        "accounts.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.parsers.StrictJsonParser"],
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS says no more than 405
    "URL_FORMAT_OVERRIDE": None,  # `?format=csv` is ours
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Meterhall API",
    "DESCRIPTION": "Authorise, capture and price calls; read and move an account's money.",
    "VERSION": "1",
    "TAGS": [
        {"name": "Gateway", "description": "Before and after each call; for gateways, with a `gw-…` token."},
        {"name": "Prices", "description": "The price list and the calculator. Public."},
        {"name": "Account", "description": "The account that a credential belongs to."},
        {"name": "Keys", "description": "API keys for calls through the gateway."},
        {"name": "Money", "description": "Balance, journal, top-ups."},
        {"name": "Usage", "description": "Calls and what they cost."},
        {"name": "Subscription", "description": "What a plan allows, and what pays when it is used up."},
    ],
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gateway.schema.add_lane",
        "config.openapi.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "AccountKind": "accounts.models.Account.Kind",
        "AccountStatus": "accounts.models.Account.Status",
        "KeyKind": "accounts.models.ApiKey.Kind",
        "GrantKind": "billing.books.models.CreditGrant.Kind",
        "EntryKind": "billing.books.models.JournalEntry.Kind",
        "ModelKind": "billing.catalog.models.Model.Kind",
        "UsageStatus": "billing.metering.api.STATUSES",
        "TopUpStatus": "billing.payments.models.TopUp.Status",
        "RefundKind": "refunds.models.Refund.Kind",
        "RefundStatus": "refunds.listing.STATUSES",
        "RefundFeeBase": "refunds.models_policy.RefundPolicy.FeeBase",
        "AlertKind": "billing.metering.models_alerts.SpendAlert.Kind",
        "WindowKind": "subscriptions.models_windows.QuotaWindow.Kind",
        "PlanChangeKind": "subscriptions.models_billing.PlanChange.Kind",
        "PlanChangeStatus": "subscriptions.models_billing.PlanChange.Status",
        "SubscriptionStatus": "subscriptions.models_billing.Subscription.Status",
    },
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "docExpansion": "list"},
}

# --- Payments (04-payments) ---------------------------------------------------------------------------------------
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="sk_test_sandbox" if SANDBOX_ENABLED else "")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRET", default=["whsec_sandbox"] if SANDBOX_ENABLED else [])
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default=f"{PUBLIC_URL}/sandbox" if SANDBOX_ENABLED else "")
STRIPE_LIVEMODE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))
SANDBOX_WEBHOOK_URL = env.str("SANDBOX_WEBHOOK_URL", default=f"{PUBLIC_URL}/webhooks/stripe")
# A benefit level once reached is kept when money goes back, unless this says otherwise (C19, J12).
BENEFIT_DOWNGRADE_ON_REVERSAL = env.bool("BENEFIT_DOWNGRADE_ON_REVERSAL", default=False)
TOPUP_MIN_USD = Decimal(env.str("TOPUP_MIN_USD", default="5"))
TOPUP_MAX_USD = Decimal(env.str("TOPUP_MAX_USD", default="10000"))
# Who issues receipts and statements; the address's lines stand between bars.
SELLER_NAME = env.str("SELLER_NAME", default=SITE_NAME)
SELLER_ADDRESS = env.str("SELLER_ADDRESS", default="")
SELLER_TAX_ID = env.str("SELLER_TAX_ID", default="")
SELLER_LOGO = env.str("SELLER_LOGO", default="")
FX_FIXED_USD_CNY = Decimal(env.str("FX_FIXED_USD_CNY", default="7.3"))
FX_FEED_URL = env.str("FX_FEED_URL", default="")
"""A JSON document with the rate; empty: the fixed rate is in force."""
FX_FEED_PATH = env.str("FX_FEED_PATH", default="rates.CNY")
FX_FEED_TIME_PATH = env.str("FX_FEED_TIME_PATH", default="")
"""Where the document says of when its rate is (ISO 8601 or seconds); empty: its rate is of the moment of asking."""
FX_FEED_EVERY = env.int("FX_FEED_EVERY", default=600)
FX_FEED_MAX_AGE = env.int("FX_FEED_MAX_AGE", default=3600)
"""Seconds. When the newest rate is older, the fixed rate is in force, and pages and API say so."""
FX_FEED_MIN = Decimal(env.str("FX_FEED_MIN", default="5"))
FX_FEED_MAX = Decimal(env.str("FX_FEED_MAX", default="10"))
FX_FEED_MAX_STEP = Decimal(env.str("FX_FEED_MAX_STEP", default="0.1"))
"""A rate that is further than this share away from the last accepted one is not believed."""
RISK_HOLD_MINUTES = env.int("RISK_HOLD_MINUTES", default=1440)
"""How long a payment that our rules hold waits for staff, before it is credited by itself."""
LATE_CREDIT_AFTER = timedelta(minutes=env.int("LATE_CREDIT_AFTER_MINUTES", default=10))
LATE_CREDIT_POLICY = env.str("LATE_CREDIT_POLICY", default="propose")
if LATE_CREDIT_POLICY not in ("propose", "issue"):
    raise ImproperlyConfigured("LATE_CREDIT_POLICY is propose or issue.")
LATE_CREDIT_COMPENSATION_USD = Decimal(env.str("LATE_CREDIT_COMPENSATION_USD", default="1"))
LATE_CREDIT_COMPENSATION_PERCENT = Decimal(env.str("LATE_CREDIT_COMPENSATION_PERCENT", default="2"))
LATE_CREDIT_COMPENSATION_CAP_USD = Decimal(env.str("LATE_CREDIT_COMPENSATION_CAP_USD", default="20"))
LATE_CREDIT_COMPENSATION_LASTS = timedelta(days=env.int("LATE_CREDIT_COMPENSATION_DAYS", default=90))

# --- Admission ----------------------------------------------------------------------------------------------------
GATEWAY_URL = env.str("GATEWAY_URL", default="https://gateway.example.com/v1")
"""Where customers send their calls; shown with a new key."""
HOLD_CAP = Decimal(env.str("HOLD_CAP", default="5"))
"""USD. The largest hold that is made only because a call named no output limit."""
HOLD_SECONDS = env.int("HOLD_SECONDS", default=900)
SUBSCRIPTION_GRACE_DAYS = env.int("SUBSCRIPTION_GRACE_DAYS", default=4)
"""For how long a renewal may stay unpaid before the plan stops: the provider's first retry comes after three days."""
BALANCE_DENIAL_STATUS = env.int("BALANCE_DENIAL_STATUS", default=402)
if BALANCE_DENIAL_STATUS not in (402, 403):
    raise ImproperlyConfigured("BALANCE_DENIAL_STATUS is 402 or 403: a gateway must read it as a refusal.")
DEFAULT_RPM = env.int("DEFAULT_RPM", default=600)
LANE_BATCH_SIZE = env.int("LANE_BATCH_SIZE", default=500)
LANE_BATCH_SECONDS = env.float("LANE_BATCH_MS", default=2.0) / 1000
LANE_WORKERS = env.int("LANE_WORKERS", default=2)
LANE_BODY_LIMIT = env.int("LANE_BODY_LIMIT", default=2_000_000)
SECOND_PERSON_ABOVE_USD = Decimal(env.str("SECOND_PERSON_ABOVE_USD", default="500"))

# --- Vouchers and credit that expires -----------------------------------------------------------------------------
VOUCHER_WRONG_PER_ACCOUNT = env.int("VOUCHER_WRONG_PER_ACCOUNT", default=10)
VOUCHER_WRONG_PER_CLIENT = env.int("VOUCHER_WRONG_PER_CLIENT", default=30)
"""Wrong voucher codes within an hour; a code with a wrong check digit counts a fifth."""
CREDIT_NOTICE_DAYS = sorted({int(days) for days in env.list("CREDIT_NOTICE_DAYS", default=["7", "1"])}, reverse=True)
"""How many days before credit expires its owner is told."""
CREDIT_NOTICE_HOUR = env.int("CREDIT_NOTICE_HOUR", default=1)
"""The hour, UTC, from which the day's mails about expiring credit are written."""
if VOUCHER_WRONG_PER_ACCOUNT < 1 or VOUCHER_WRONG_PER_CLIENT < 1 or not 0 <= CREDIT_NOTICE_HOUR <= 23:
    raise ImproperlyConfigured("VOUCHER_WRONG_PER_… are at least 1, and CREDIT_NOTICE_HOUR is an hour of the day.")
if any(not 1 <= days <= 90 for days in CREDIT_NOTICE_DAYS):
    raise ImproperlyConfigured("CREDIT_NOTICE_DAYS are whole days from 1 to 90.")

# --- Seeing it ----------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # Django brings a handler of its own, which would write every line twice; Stripe's client tells of each request.
    "loggers": {
        "django": {"handlers": []},
        "django.server": {"level": "WARNING"},
        "stripe": {"level": "WARNING"},
    },
}

UNFOLD = {
    "SITE_TITLE": SITE_NAME,
    "SITE_HEADER": SITE_NAME,
    "SITE_SYMBOL": "account_balance",
    "SITE_URL": "/overview",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.navigation.favicon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "config.dashboard.dashboard",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "config.navigation.sidebar"},
    "ACCOUNT": {"navigation": "config.navigation.own_pages"},
    "LANGUAGES": {"action": "config.navigation.language_action"},
    "STYLES": ["config.navigation.stylesheet"],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "#eef5fc",
            "100": "#d9e9f8",
            "200": "#b3d3f1",
            "300": "#7fb5e8",
            "400": "#4a98de",
            "500": "#2480d8",
            "600": "#066fd1",
            "700": "#0559a8",
            "800": "#064a89",
            "900": "#083d6f",
            "950": "#052747",
        }
    },
}
SILENCED_SYSTEM_CHECKS: list[str] = []
ADMIN_SITE_TITLE = _("Staff console")
