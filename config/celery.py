"""The Celery app and the beat schedule. Every scheduled task is a sweep: it finds work that rows say is due."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("meterhall")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["billing.books", "billing.payments", "billing.metering", "billing.catalog", "sandbox", "gateway", "accounts"])
