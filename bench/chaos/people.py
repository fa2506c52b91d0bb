"""Staff who decide refunds, and somebody in the provider's dashboard: a process beside the clients.

    python -m bench.chaos.people LOG SEED          until it is told to stop
    python -m bench.chaos.people LOG SEED --rest   decide all that is left, once

Staff call the operations that their desk calls; what they were told that it is done is written into the clients' log.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import django

PACE: Final = 0.4
LONGEST_REST: Final = 500
"""Seconds between two looks at what waits."""


def main() -> None:
    """Decide and disturb until SIGTERM, or decide the rest."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    path, seed, rest = Path(sys.argv[1]), sys.argv[2], "--rest" in sys.argv
    people = People(path, seed)
    if rest:
        people.rest()
        return
    while True:
        people.once()
        time.sleep(PACE)


class People:
    """Two members of staff, and the provider's dashboard."""

    def __init__(self, path: Path, seed: str) -> None:
        from accounts.models import User

        self.draw = random.Random(f"people-{seed}")
        self.log = path.open("a", buffering=1)
        # Whatever is broken just now: they come back to it.
        self.staff = [
            self._patiently(lambda n=n: User.objects.get(email=f"chaos-staff-{n}@example.com")) for n in (1, 2)
        ]

    def note(self, what: str, **facts: Any) -> None:
        """Something was acknowledged. Short lines that are appended do not mix with those of the clients."""
        self.log.write(json.dumps({"what": what, **facts}) + "\n")

    def once(self) -> None:
        """One decision, now and then something in the dashboard, and the end of a refund that is pending there."""
        self._try(self._decide_one)
        if self.draw.random() < 0.05:
            self._try(self._dashboard)
        if self.draw.random() < 0.15:
            self._try(self._settle_one)

    def rest(self) -> None:
        """Everything that still waits for a person, or for the provider's bank."""
        for _time in range(LONGEST_REST):
            if not (self._patiently(self._decide_one) or self._patiently(self._settle_one)):
                return

    def _try(self, work: Callable[[], object]) -> None:
        from django.db import close_old_connections

        try:
            work()
        except Exception as broken:  # the database, the broker, a state that changed meanwhile
            self.note("staff could not", why=repr(broken)[:200])
        close_old_connections()

    def _patiently(self, work: Callable[[], Any]) -> Any:
        from django.db import Error, close_old_connections

        for _time in range(60):
            try:
                return work()
            except Error:
                close_old_connections()
                time.sleep(1)
        raise TimeoutError("the database stays away")

    def _decide_one(self) -> bool:
        from billing.errors import BillingError
        from billing.waking import wake
        from config import clock
        from refunds import deciding, plan_lifecycle, tasks
        from refunds.models import Refund
        from refunds.models_plan import PlanRefund

        plan = PlanRefund.objects.filter(status=PlanRefund.Status.REQUESTED).order_by("pk").first()
        if plan is not None:
            plan_lifecycle.approve(plan.pk, actor=self.staff[0], reason="chaos", now=clock.now())
            wake(tasks.go_on_with_plan, str(plan.pk))
            self.note("staff approved", refund=str(plan.pk))
            return True
        row = Refund.objects.filter(status=Refund.Status.REQUESTED, top_up__isnull=False).order_by("pk").first()
        if row is None:
            return False
        fate = self.draw.random()
        terms: dict[str, Any] = {"actor": self.staff[row.first_approved_by_id == self.staff[0].pk], "reason": "chaos"}
        if fate < 0.1:
            deciding.reject(row.pk, **terms, now=clock.now())
            self.note("staff rejected", refund=str(row.pk))
            return True
        try:
            self._approve(row, terms, part=fate < 0.3)
        except BillingError as refusal:  # the money went another way, or the customer took it back meanwhile
            self.note("staff could not approve", refund=str(row.pk), code=refusal.code)
            if Refund.objects.get(pk=row.pk).status == Refund.Status.REQUESTED:
                deciding.reject(row.pk, **terms, now=clock.now())
                self.note("staff rejected", refund=str(row.pk))
        return True

    def _approve(self, row: Any, terms: dict[str, Any], *, part: bool) -> None:
        from billing.waking import wake
        from config import clock
        from refunds import deciding, tasks
        from refunds.models import Refund

        half = (row.requested_usd / 2).quantize(Decimal("0.01"))
        if part and row.asked_usd is None and half > 1:
            done = deciding.approve_part(row.pk, half, **terms, now=clock.now())
        else:
            done = deciding.approve(row.pk, **terms, now=clock.now())
        if done.status != Refund.Status.REQUESTED:  # above the limit a second person is asked
            wake(tasks.submit_refund, str(row.pk))
            self.note("staff approved", refund=str(row.pk))

    def _dashboard(self) -> None:
        """Some or all of a payment, without a word to us."""
        from config import clock
        from sandbox import dashboard
        from sandbox.errors import ApiError

        found = dashboard.refundable()
        if not found:
            return
        charge = self.draw.choice(found)
        left = charge.data["amount"] - charge.data["amount_refunded"]
        amount = self.draw.choice([None, max(1, left // 2), max(1, left // 5)])
        try:
            made = dashboard.refund(charge.payment_intent, amount, clock.now())
        except ApiError:
            return
        self.note("dashboard refund", provider_refund=made["id"], amount=made["amount"])

    def _settle_one(self) -> bool:
        """A bank decides about a refund that is pending until somebody says."""
        from django.db import transaction

        from config import clock
        from sandbox.models import StoredObject
        from sandbox.resources import refunds
        from sandbox.store import Moment

        waits = StoredObject.objects.filter(
            kind="refund", data__status__in=["pending", "requires_action"], due_at=None
        ).order_by("pk")
        with transaction.atomic():
            row = waits.select_for_update().first()
            if row is None:
                return False
            outcome = self.draw.choice(["succeeded", "succeeded", "failed", "canceled"])
            refunds.settle(row, outcome, Moment(clock.now()))
        self.note("bank decided", provider_refund=row.object_id, outcome=outcome)
        return True


if __name__ == "__main__":
    main()
