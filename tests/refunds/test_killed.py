"""The worker dies at every point where it waits for the provider or the database, and another one goes on.

Each question to the database is a point, and so is the moment before and after each commit and each call of the
provider. Afterwards there is exactly one refund at the provider, and the books are sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from billing.payments.stripe_processor import StripeProcessor, get_processor
from config import clock
from refunds import sending
from refunds.models import Refund
from tests.flush import broken_books
from tests.refunds.conftest import Desk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


class Killed(BaseException):
    """The process is gone."""


class Reaper:
    """Counts the points and dies at the one it was told."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.passed, self.where = fatal, 0, ""

    def point(self, where: str) -> None:
        self.passed += 1
        if self.passed == self.fatal:
            self.where = where
            raise Killed(where)

    def execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.point(sql[:60])  # dying after one question is dying before the next
        return execute(sql, params, many, context)


@contextmanager
def dying_at(fatal: int) -> Iterator[Reaper]:
    reaper, commit = Reaper(fatal), connection.commit
    create = StripeProcessor.create_refund

    def dying_commit() -> None:
        try:
            reaper.point("before commit")
        except Killed:
            connection.connection.rollback()  # what the database does for a client that is gone
            raise
        commit()
        reaper.point("after commit")

    def dying_call(self: StripeProcessor, request: Any) -> Any:
        reaper.point("before the call")
        answer = create(self, request)
        reaper.point("after the call")
        return answer

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(reaper.execute):
        patch.setattr(connection, "commit", dying_commit)
        patch.setattr(StripeProcessor, "create_refund", dying_call)
        yield reaper


@pytest.mark.parametrize("outcome", ["succeed", "fail", "pending"])
def test_a_worker_killed_anywhere_in_submit_leaves_one_refund_and_sound_books(desk: Desk, outcome: str) -> None:
    order = desk.paid("450")
    desk.shop.tell()
    desk.shop.sandbox.switch(refunds=outcome)
    where, fatal = [], 0
    while True:
        fatal += 1
        refund = desk.approve(desk.ask(order, "1"))
        before = len(desk.shop.sandbox.refunds())
        killed = False
        with dying_at(fatal) as reaper:
            try:
                sending.submit(refund.pk, processor=get_processor(), now=clock.now())
            except Killed:
                killed = True
        connection.close()  # the database hears no more of the dead one
        if not killed:
            break
        where.append(reaper.where)
        refund = sending.submit(refund.pk, processor=get_processor(), now=clock.now())
        assert refund.status == {"succeed": "succeeded", "fail": "failed", "pending": "submitted"}[outcome], where[-1]
        assert len(desk.shop.sandbox.refunds()) == before + 1, where[-1]

    assert {"before commit", "after commit", "before the call", "after the call"} <= set(where)
    assert len(where) > 12
    assert broken_books() == []
    marks = [one["metadata"]["refund"] for one in desk.shop.sandbox.refunds()]
    assert len(marks) == len(set(marks)) == Refund.objects.count()
