"""Project configuration. The Celery app is imported here so that `delay_on_commit` exists on every task."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
