"""`/healthz` and `/readyz`: what a load balancer and `make run` wait for."""

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from pytest_django import Settings

from config import health


@pytest.mark.django_db
def test_it_is_ready_when_the_database_is_migrated_and_the_broker_answers(rf: RequestFactory) -> None:
    answer = health.readyz(rf.get("/readyz"))
    assert answer.status_code == 200
    assert b'"status": "ok"' in answer.content


@pytest.mark.django_db
def test_a_silent_broker_is_a_warning_and_not_a_reason_to_stop_serving(rf: RequestFactory, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    answer = health.readyz(rf.get("/readyz"))
    assert answer.status_code == 200
    assert b'"status": "degraded"' in answer.content


@pytest.mark.django_db
def test_without_a_database_it_is_not_ready_and_says_when_to_ask_again(rf: RequestFactory) -> None:
    def refuse(*_arguments: object) -> None:
        raise OperationalError("the server is gone")

    with connection.execute_wrapper(refuse):
        answer = health.readyz(rf.get("/readyz"))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert b"the server is gone" not in answer.content


@pytest.mark.django_db
def test_a_pending_migration_means_not_ready(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'accounts'")
    answer = health.readyz(rf.get("/readyz"))
    assert answer.status_code == 503
    assert b'"migrations": "pending"' in answer.content


def test_the_process_is_healthy_without_asking_anybody(rf: RequestFactory) -> None:
    assert health.healthz(rf.get("/healthz")).status_code == 200
