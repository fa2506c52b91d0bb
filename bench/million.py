"""A million calls, made through the operation that charges them; then what reads them all.

    python -m bench.million [--calls=1000000] [--accounts=10000]

Two figures, each against its goal: `verify_charges` over all of them, which must also find a record that was corrupted on
purpose, and a rehearsal of a draft that touches every model, in parts on two processes as two workers would.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import django
from django.core.management import call_command
from django.db import connection

if TYPE_CHECKING:
    from billing.catalog.documents import Document, PriceEntry

ROOT = Path(__file__).resolve().parent.parent
BATCH = 250
PROCESSES = 2
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GOAL_SECONDS = 60


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--part", type=int, help="a process of the preparation")
    parser.add_argument("--work", type=UUID, help="a process of the rehearsal")
    args, _ = parser.parse_known_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    if args.part is not None:
        _charge(args.part, args.calls // PROCESSES)
    elif args.work is not None:
        _work(args.work)
    else:
        _measure(args.calls, args.accounts)


def _measure(calls: int, accounts: int) -> None:
    from bench.population import populate

    call_command("migrate", verbosity=0)
    call_command(
        "import_catalog", str(ROOT / "billing" / "data" / "demo_catalog.json"), verbosity=0, stdout=io.StringIO()
    )
    populate(accounts, usd=5)
    began = time.perf_counter()
    _together(*(["--part", str(part), f"--calls={calls}"] for part in range(PROCESSES)))
    seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT count(*), count(DISTINCT (account_id, request_id)) FROM billing_usagerecord")
        made, distinct = cursor.fetchone()
    assert made == distinct == calls // PROCESSES * PROCESSES
    sys.stdout.write(f"{made:,} calls charged in {seconds:.0f} s by {PROCESSES} processes ({made / seconds:,.0f}/s)\n")
    _verify(made)
    _rehearse(made)


def _charge(part: int, count: int) -> None:
    """Half of the calls, reported batch after batch in the order of their time."""
    from accounts.models import Account
    from billing.catalog.book import current_book
    from billing.catalog.usage import parse_usage
    from billing.metering import usage
    from gateway import traffic

    drawn = random.Random(part)
    accounts = list(Account.objects.order_by("pk").values_list("pk", flat=True))[
        part::PROCESSES
    ]  # nobody waits for another's lock
    book = current_book(fresh=True)
    models = traffic.favourites(book, NOW, count=60)
    made = traffic.calls(book, models, count=count, since=NOW - timedelta(days=29), until=NOW, seed=part)
    number = 0
    while batch := list(islice(made, BATCH)):
        reports = []
        for call in batch:
            number += 1
            channel = "aws-us" if call.model.startswith("anthropic/") and drawn.random() < 0.3 else "default"
            priced = book.priced(call.model, channel, call.at)
            reports.append(
                usage.Report(
                    account_id=drawn.choice(accounts), api_key_id=None, request_id=f"{part}-{number}", model_id=priced.model.id,
                    channel_id=priced.channel.id, price_version_id=priced.price.version_id, channel_discount=priced.channel.discount,
                    user_discount=drawn.choice((Decimal("1"), Decimal("0.95"))), fields={}, usage=parse_usage(call.usage),
                    occurred_at=call.at, trace_id=f"{part}-{number}", latency_ms=call.latency_ms,
                )
            )  # fmt: skip
        found = usage.report(reports, now=batch[-1].at)
        assert not any(isinstance(answer, Exception) for answer in found), found[:3]


def _verify(made: int) -> None:
    from billing.metering.verify import recompute_charges

    checked, wrong, seconds = _recompute(recompute_charges)
    assert (checked, wrong) == (made, []), wrong[:3]
    rate = checked / seconds
    sys.stdout.write(
        f"verify_charges: {checked:,} records in {seconds:.1f} s ({rate:,.0f}/s), 0 differ; goal: <= {GOAL_SECONDS} s\n"
    )
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SELECT id FROM billing_usagerecord WHERE charge > 0 ORDER BY id OFFSET 777 LIMIT 1")
        [victim] = cursor.fetchone()
        cursor.execute("UPDATE billing_usagerecord SET charge = charge + 0.0000000001 WHERE id = %s", [victim])
        checked, wrong, seconds = _recompute(recompute_charges)
        assert len(wrong) == 1, wrong
        assert str(victim) in wrong[0]
        cursor.execute("UPDATE billing_usagerecord SET charge = charge - 0.0000000001 WHERE id = %s", [victim])
        cursor.execute("SET session_replication_role = origin")
    sys.stdout.write(f"verify_charges found the one record that was changed by 1e-10 USD in {seconds:.1f} s\n")


def _recompute(recompute: Callable[[], Iterator[tuple[int, list[str]]]]) -> tuple[int, list[str], float]:
    began, checked, wrong = time.perf_counter(), 0, []
    for count, differences in recompute():
        checked += count
        wrong += differences
    return checked, wrong, time.perf_counter() - began


def _rehearse(made: int) -> None:
    from accounts.models import User
    from billing.catalog import drafts
    from billing.catalog.documents import read_json
    from billing.metering import rehearsal
    from billing.metering.models_rehearsal import Rehearsal

    staff = User.objects.create_user("bench@example.com", None)
    document = read_json((ROOT / "billing" / "data" / "demo_catalog.json").read_bytes())
    document = _dearer(document)
    before = _books()
    draft = drafts.create(document, title="all dearer", actor=staff, reason="bench", now=NOW)
    run = rehearsal.request(draft.pk, days=30, actor=staff, now=NOW)
    began = time.perf_counter()
    _together(*(["--work", str(run.pk)] for _ in range(PROCESSES)))
    seconds = time.perf_counter() - began
    run = Rehearsal.objects.get(pk=run.pk)
    sums = rehearsal.totals(run)
    assert run.state == "done", run.error
    assert sums.calls + sums.unpriced == made, (sums, made)
    assert _books() == before
    sys.stdout.write(
        f"rehearsal: {sums.calls:,} calls on {PROCESSES} processes in {seconds:.1f} s, start-up included; goal: <= {GOAL_SECONDS} s; "
        f"revenue {sums.before:,.2f} -> {sums.after:,.2f} USD, {sums.refused:,} calls of {sums.refused_accounts:,} accounts newly refused; "
        f"books unchanged\n"
    )


def _dearer(document: Document) -> Document:
    """Every price by a tenth more, so that all calls are rated again."""
    more = Decimal("1.1")

    def raised(price: PriceEntry) -> PriceEntry:
        spec = price.spec
        names = ("input_per_1k", "output_per_1k", "price")
        told = {name: getattr(spec, name) * more for name in names if getattr(spec, name) is not None}
        return replace(price, spec=replace(spec, **told, tiers=()))

    models = tuple(replace(one, prices=tuple(raised(price) for price in one.prices)) for one in document.models)
    return replace(document, models=models, only_prices=True)


def _work(run_id: UUID) -> None:
    """As a worker does: one piece after another."""
    from billing.metering import rehearsal
    from billing.metering.models_rehearsal import Rehearsal

    while Rehearsal.objects.filter(pk=run_id, finished_at__isnull=True).exists():
        if not rehearsal.work(run_id, now=NOW):
            time.sleep(0.05)


def _books() -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM billing_journalentry), (SELECT count(*) FROM billing_posting), (SELECT count(*) FROM billing_usagerecord),"
            " (SELECT sum(balance) FROM billing_wallet), (SELECT sum(overdraft) FROM billing_wallet), (SELECT count(*) FROM billing_priceversion),"
            " (SELECT pg_stat_get_tuples_updated('billing_wallet'::regclass))"
        )
        return cursor.fetchall()


def _together(*arguments: list[str]) -> None:
    """This module in processes of its own, at once."""
    running = [subprocess.Popen([sys.executable, "-m", "bench.million", *one], cwd=ROOT) for one in arguments]
    codes = [one.wait() for one in running]
    if any(codes):
        raise SystemExit(f"a process ended with {codes}")


if __name__ == "__main__":
    main()
