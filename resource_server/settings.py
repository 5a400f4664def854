"""What Django wants to be told. The composition root adds the secret key and the database."""

from __future__ import annotations

DEBUG = False
#: Ours: where people reach the operators.
CONTACT = ""
INSTALLED_APPS = ["ninja", "resource_server.store"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "resource_server.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
APPEND_SLASH = False
# Logging is structlog's, set up by the composition root.
LOGGING_CONFIG = None
# The front door limits bodies, for every kind of body alike.
DATA_UPLOAD_MAX_MEMORY_SIZE = None
DATABASES: dict[str, dict[str, object]] = {}
