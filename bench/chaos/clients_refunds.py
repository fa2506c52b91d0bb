"""What clients do who want their money back: look, ask, and sometimes change their mind."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.chaos.clients import Buyer, Log, code_of

Ask = Callable[[str, str, str, object], Any]
"""Method, path, idempotency key, body; None: no answer."""
CARDS: Final = ("4000000000007726", "4000000000005126")
"""Refunds are pending first; refunds succeed and fail later."""
TAKEN_BACK: Final = 0.2
WANTED_BACK: Final = 0.6


def give_plan_back(ask: Ask, key: str, *, draw: Random, log: Log, account: str) -> None:
    """The plan as quoted; a repeat of the request is the same refund."""
    shown = ask("POST", "/api/v1/refunds/preview", "", {"kind": "subscription"})
    if shown is None or shown.status_code != 200:
        return
    if not shown.json()["possible"]:
        for reason in shown.json()["reasons"]:
            log.note("refund refused", account=account, code=reason["code"])
        return
    body = {"quote": shown.json()["quote"], "reason": "chaos"}
    _ask(ask, key, body, draw=draw, log=log, account=account)


def ask_top_up_back(ask: Ask, key: str, order: str, amount: str, *, draw: Random, log: Log, account: str) -> None:
    """All that is unused of an order, or `amount` dollars."""
    body = {"kind": "top_up", "order": order, "reason": "chaos"} | ({"amount": amount} if amount else {})
    _ask(ask, key, body, draw=draw, log=log, account=account)


def _ask(ask: Ask, key: str, body: object, *, draw: Random, log: Log, account: str) -> None:
    refund = ""
    for _time in range(2 if draw.random() < 0.2 else 1):
        made = ask("POST", "/api/v1/refunds", key, body)
        if made is None:
            return log.note("refund left open", account=account, key=key)
        if made.status_code != 201:
            return log.note("refund refused", account=account, code=code_of(made), body=made.text[:300])
        refund = made.json()["id"]
        log.note("refund asked", account=account, key=key, refund=refund, final=made.json()["final"])
    if draw.random() < TAKEN_BACK:
        done = ask("POST", f"/api/v1/refunds/{refund}/cancel", "", {})
        if done is not None and done.status_code == 200:
            log.note("refund taken back", account=account, refund=refund)
        elif done is not None:
            log.note("refund not taken back", account=account, refund=refund, code=code_of(done))
    return None


class Regretter(Buyer):
    """A buyer who often wants the money back as soon as the credit has come."""

    def once(self) -> None:
        """An order; or a second thought about an earlier one, which may be spent or asked back already."""
        if self.draw.random() < 0.5:
            super().once()
            return
        status = self.draw.choice(["credited", "credited", "partially_refunded"])
        shown = self.ask("GET", f"/api/v1/top-ups?status={status}&page_size=20")
        if shown is not None and shown.status_code == 200 and shown.json()["results"]:
            one = self.draw.choice(shown.json()["results"])
            self.after(one["order"], Decimal(one["amount"]))

    def after(self, order: str, amount: Decimal) -> None:
        """All of it, or a half, with a new key each time."""
        if self.draw.random() > WANTED_BACK:
            return

        def ask(method: str, path: str, key: str, body: object) -> Any:
            return self.ask(method, path, headers={"Idempotency-Key": key} if key else {}, json=body)

        half = f"{(amount / 2).quantize(Decimal('0.01'))}" if self.draw.random() < 0.5 else ""
        key = f"{self.name}-{next(self.numbers)}"
        ask_top_up_back(ask, key, order, half, draw=self.draw, log=self.log, account=self.account)
