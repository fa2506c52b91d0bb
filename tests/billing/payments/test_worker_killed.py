"""Case 6: a real Celery worker is killed after the commit of the credit and before it acknowledged its task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from billing.payments.models import PaymentEvent, TopUp
from config.celery import app
from tests.billing.payments.conftest import Shop
from tests.services import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def worker(shop: Shop, data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of its own process on the test's database and broker; its mails lie in `data_dir/mail`."""
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "PUBLIC_URL": shop.sandbox.url,
        "DATA_DIR": str(data_dir),
    }
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--pool", "solo", "--loglevel", "INFO"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with (data_dir / "worker.log").open("ab") as log:
        process = subprocess.Popen([*command, *quiet], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(what: str, ready: Callable[[], Any], log: Path, seconds: float = 180) -> Any:
    """Ask until it is so; the worker's own log says why it is not."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"{what} did not happen:\n{log.read_text()[-3000:]}"
        time.sleep(0.05)
    return found


@contextmanager
def row_held(event: PaymentEvent) -> Iterator[psycopg.Connection[Any]]:
    """Hold the event's row, so that whoever wants to close the event waits."""
    with psycopg.connect(database_url()) as held:
        held.execute("SELECT 1 FROM billing_paymentevent WHERE id = %s FOR UPDATE", [event.pk])
        yield held


def blocked_backend() -> int | None:
    """The database process that waits for the event's row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE 'UPDATE \"billing_paymentevent\"%%'"
        )
        row = cursor.fetchone()
    return int(row[0]) if row else None


def lying_in_broker() -> tuple[int, int]:
    """How many tasks wait, and how many a worker took and never acknowledged."""
    with app.connection_for_read() as broker:
        channel = broker.default_channel
        queues = [channel._q_for_pri("celery", priority) for priority in channel.priority_steps]
        return sum(channel.client.llen(queue) for queue in queues), channel.client.hlen("unacked")


def give_back_what_was_not_acknowledged() -> None:
    """What the broker does by itself when the visibility timeout is over."""
    options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "visibility_timeout": 0}
    with app.connection_for_write(transport_options=options) as broker:
        broker.default_channel.qos.restore_visible(num=100)


def test_case_6_a_worker_killed_after_the_commit_leaves_one_ledger_row_and_one_mail(shop: Shop, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    [completed] = shop.sandbox.events("checkout.session.completed")
    shop.sandbox.send(completed)
    event = PaymentEvent.objects.get()
    assert lying_in_broker() == (1, 0)

    with row_held(event) as held, worker(shop, tmp_path) as first:
        backend = wait_for("the credit", blocked_backend, log)
        assert len(shop.credits()) == 1  # committed, and the worker is about to say so
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with connection.cursor() as cursor:  # the dead worker's last statement dies with it
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
        wait_for("the end of its connection", lambda: blocked_backend() is None, log)
        held.rollback()

    event.refresh_from_db()
    assert event.state == "received"
    assert lying_in_broker() == (1, 1)  # the receipt's nudge waits; the event's task is not acknowledged
    give_back_what_was_not_acknowledged()
    assert lying_in_broker() == (2, 0)

    with worker(shop, tmp_path):
        wait_for("the event's end", lambda: PaymentEvent.objects.filter(state="processed").exists(), log)
        wait_for("the receipt", lambda: TopUp.objects.filter(mailed_at__isnull=False).exists(), log)
        wait_for("an empty queue", lambda: lying_in_broker() == (0, 0), log)

    assert shop.balance() == Decimal(20)
    assert len(shop.credits()) == 1
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 1
