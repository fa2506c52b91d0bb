"""The Celery app and the beat schedule. Every scheduled task is a sweep: it finds work that rows say is due."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("meterhall")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    [
        *("billing", "billing.books", "billing.payments", "billing.metering", "billing.catalog", "gateway"),
        *("refunds", "accounts", "subscriptions"),
    ]
)

app.conf.beat_schedule = {
    "books: statements that are ready": {"task": "billing.books.tasks.tell_statements", "schedule": 300.0},
    "books: credit that expired": {"task": "billing.books.tasks.expire_credit", "schedule": 60.0},
    "books: mails about credit that expires": {"task": "billing.books.tasks.notify_expiry", "schedule": 600.0},
    "metering: holds that nobody ended": {"task": "billing.metering.tasks.expire_holds", "schedule": 20.0},
    "metering: spend and balance alerts": {"task": "billing.metering.tasks.sweep_alerts", "schedule": 30.0},
    "metering: usage by day": {"task": "billing.metering.tasks.roll_usage", "schedule": 60.0},
    "metering: refused usage that was settled": {
        "task": "billing.metering.tasks.settle_quarantine",
        "schedule": 60.0,
    },
    "metering: corrections to go on with": {"task": "billing.metering.tasks.sweep_corrections", "schedule": 30.0},
    "metering: rehearsals to go on with": {"task": "billing.metering.tasks.sweep_rehearsals", "schedule": 30.0},
    "notices: mails nobody sent": {"task": "billing.tasks.sweep_notices", "schedule": 60.0},
    "payments: balances below their threshold": {
        "task": "billing.payments.tasks_saved.sweep_auto_top_ups",
        "schedule": 5.0,
    },
    "payments: cards to keep and to forget": {"task": "billing.payments.tasks_saved.sweep_cards", "schedule": 60.0},
    "payments: dates of saved cards": {"task": "billing.payments.tasks_saved.watch_dates", "schedule": 3600.0},
    "payments: benefit levels to raise": {"task": "billing.payments.tasks.raise_levels", "schedule": 3600.0},
    "payments: credit jobs that are due": {"task": "billing.payments.tasks.sweep_credit_jobs", "schedule": 20.0},
    "payments: events nobody finished": {"task": "billing.payments.tasks.sweep_events", "schedule": 15.0},
    "payments: orders without news": {"task": "billing.payments.tasks.sweep_top_ups", "schedule": 30.0},
    "payments: disputes and fraud warnings without news": {
        "task": "billing.payments.tasks_disputes.sweep_disputes",
        "schedule": 600.0,
    },
    "payments: days at the provider to compare": {
        "task": "billing.payments.tasks.sweep_reconciliations",
        "schedule": 600.0,
    },
    "payments: exchange rate": {"task": "billing.payments.tasks.refresh_rate", "schedule": 60.0},
    "payments: exchange rates promised and not used": {
        "task": "billing.payments.tasks.forget_quotes",
        "schedule": 3600.0,
    },
    "payments: holds whose time is over": {"task": "billing.payments.tasks.release_holds", "schedule": 60.0},
    "payments: receipts not mailed": {"task": "billing.payments.tasks.sweep_receipts", "schedule": 60.0},
    "subscriptions: renewals, changes and ends without news": {
        "task": "subscriptions.tasks_billing.sweep_subscriptions",
        "schedule": 30.0,
    },
    "refunds: to send, or without news": {"task": "refunds.tasks.sweep", "schedule": 30.0},
    "subscriptions: caps of Extra Usage to tell of": {
        "task": "subscriptions.tasks.tell_extra_usage",
        "schedule": 60.0,
    },
}
