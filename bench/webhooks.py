"""The provider's events: how fast they are taken in, and how fast the inbox is worked off.

    python -m bench.webhooks [--rate=100] [--payments=300] [--worker-processes=4]

Real orders are paid at the sandbox with its events held back; then every event is sent, signed, at a steady rate to a
web of two processes. A latency counts from the moment at which the event was to be sent, so that a slow answer is not
hidden by the ones that wait behind it. Afterwards a worker takes the inbox: each payment is fetched afresh from the
sandbox, which shares the two cores with everything else. Events that tell us nothing end at the door; the rate of those
that need a worker is told beside the rate of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import django
from django.core.management import call_command

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
CUSTOMERS: Final = 20
CONNECTIONS: Final = 32


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--payments", type=int, default=400)
    parser.add_argument("--worker-processes", type=int, default=4)
    args, _ = parser.parse_known_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    os.environ |= {"PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}", "DEBUG": "true"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    web = ["uvicorn", "config.asgi:application", "--port", str(port), "--workers", "2", "--log-level", "warning"]
    with _running([*web, "--no-access-log"]):
        _wait(port)
        paid = _pay(args.payments)
        events = _signed()
        first, second = events[: len(events) // 2], events[len(events) // 2 :]
        _line(f"{len(first)} events at {args.rate:g}/s, nobody at work", asyncio.run(_send(port, first, args.rate)))
        celery = ["celery", "-A", "config", "--quiet", "worker", "--loglevel", "ERROR", "--without-mingle"]
        with _running([*celery, "--concurrency", str(args.worker_processes)]):
            worked, took = _drained(len(first))
            sys.stdout.write(
                f"inbox: {len(first)} events worked off in {took:.1f} s, {len(first) / took:,.0f}/s (goal: >= 100/s); "
                f"{worked} of them needed a worker, {worked / took:,.0f}/s\n"
            )
            busy = asyncio.run(_send(port, second, args.rate))
            _line(f"{len(second)} events at {args.rate:g}/s, a worker on the same cores", busy)
            _drained(len(events))
    _check(paid)


def _pay(count: int) -> int:
    """Orders of twenty customers, paid at the provider; its events are written and held back."""
    from django.db import transaction

    from accounts import onboarding
    from accounts.models import User
    from billing.payments import topups
    from billing.payments.stripe_processor import get_processor
    from config import clock
    from sandbox import cards, checkout, store, switches
    from sandbox.store import Moment

    switches.set_switches(hold=True)
    now = clock.now()
    owner = User.objects.create_user("bench@example.com")
    accounts = [onboarding.open_account(owner, now=now, name=f"Bench {n}") for n in range(CUSTOMERS)]
    card = cards.lookup("4242424242424242")
    for number in range(count):
        order = topups.start(
            accounts[number % CUSTOMERS].pk,
            Decimal(20),
            method="card",
            client_key=f"bench-{number}",
            actor=owner,
            locale="en",
            processor=get_processor(),
            now=clock.now(),
        )
        with transaction.atomic():
            checkout.pay_by_card(
                store.get("checkout.session", order.checkout_session_id or "", lock=True),
                card,
                card.outcome,
                month=12,
                year=2034,
                email="bench@example.com",
                name="Bo Bench",
                moment=Moment(clock.now()),
            )
    return count


def _signed() -> list[bytes]:
    """Each event's body. What is sent is signed when it is sent: a signature lives for five minutes."""
    from sandbox import delivery
    from sandbox.models import Event

    return [delivery.encode(event) for event in Event.objects.order_by("pk")]


async def _send(port: int, events: list[bytes], rate: float) -> list[float]:
    """POST every event at its time; the latencies in milliseconds."""
    from django.conf import settings

    from sandbox import delivery

    secret, latencies = settings.STRIPE_WEBHOOK_SECRETS[0], []
    waiting: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (item := await waiting.get()) is not None:
            planned, body = item
            signed = delivery.signature(body, secret, int(time.time()))
            head = (
                f"POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
                f"Stripe-Signature: {signed}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            if answer[9:12] != b"200":
                raise SystemExit(f"the webhook answered {answer[:40]!r}")
            latencies.append((time.perf_counter() - planned) * 1000)
        writer.close()

    workers = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    began = time.perf_counter() + 0.2
    for number, body in enumerate(events):
        planned = began + number / rate
        await asyncio.sleep(max(0.0, planned - time.perf_counter()))
        waiting.put_nowait((planned, body))
    for _ in workers:
        waiting.put_nowait(None)
    await asyncio.gather(*workers)
    return latencies


def _drained(count: int) -> tuple[int, float]:
    """How many events a worker finished, and the seconds from the first that it finished to the last."""
    from django.db.models import Count, Max, Min

    from billing.payments.models import PaymentEvent

    deadline = time.monotonic() + 300
    while PaymentEvent.objects.filter(state="received").exists() or PaymentEvent.objects.count() < count:
        if time.monotonic() > deadline:
            raise SystemExit("the inbox was not worked off in five minutes")
        time.sleep(0.2)
    ends = PaymentEvent.objects.filter(state="processed").aggregate(
        number=Count("pk"), first=Min("state_at"), last=Max("state_at")
    )
    took: float = (ends["last"] - ends["first"]).total_seconds()
    return ends["number"], max(took, 0.001)


def _line(name: str, latencies: list[float]) -> None:
    cuts = statistics.quantiles(latencies, n=100)
    sys.stdout.write(f"intake, {name}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms (goal: p99 < 50 ms)\n")


def _check(paid: int) -> None:
    """Every payment was credited once, and the books are sound."""
    from billing.books.models import JournalEntry

    credited = JournalEntry.objects.filter(kind="topup").count()
    if credited != paid:
        raise SystemExit(f"{paid} orders were paid, {credited} credits are in the books")
    call_command("verify_books")


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()  # the parent alone: it ends its children in order
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait(port: int) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2))
        except (OSError, ValueError):
            time.sleep(0.1)
    raise SystemExit("the web process did not answer")


if __name__ == "__main__":
    main()
