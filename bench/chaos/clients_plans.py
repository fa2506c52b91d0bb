"""A customer with a paid plan: buys it, changes it, cancels it, and lets the provider renew it, over and over."""

from __future__ import annotations

import random
import time
from typing import Any, Final

from bench.chaos import clients_refunds
from bench.chaos.clients import PATIENCE, Client

PLANS: Final = ("pro", "max", "ultra")
MOVES: Final = {"renew": 8, "change": 5, "cancel": 2, "keep": 2, "decline and renew": 1, "end": 1, "give back": 5}
BAD_CARD, GOOD_CARD = "4000000000009995", "4242424242424242"


class Subscriber(Client):
    """Several accounts in turn, one step of one of them at a time."""

    def __init__(self, *arguments: Any, accounts: list[dict[str, str]], provider: dict[str, str], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.accounts, self.provider = accounts, provider
        self.sessions: dict[str, str] = {}

    def once(self) -> None:
        """One account: a plan if it has none, and else one of the things that customers and providers do."""
        one = self.draw.choice(self.accounts)
        shown = self.own("GET", one, "/api/v1/subscription")
        if shown is None or shown.status_code != 200:
            return
        now = shown.json()
        if now["status"] == "none":
            self._subscribe(one)
        else:
            move = self.draw.choices(list(MOVES), list(MOVES.values()))[0]
            if move == "change":
                self._change(one, now["plan"]["code"])
            elif move == "give back":
                self._give_back(one)
            elif move in ("cancel", "keep"):
                self._cancel(one, on=move == "cancel")
            else:
                self._provider_does(one, move)
        time.sleep(self.draw.uniform(0.1, 0.4))

    def own(self, method: str, one: dict[str, str], path: str, key: str = "", body: object = None) -> Any:
        """A request with the account's own management key."""
        headers = {"Authorization": f"Bearer {one['secret']}"} | ({"Idempotency-Key": key} if key else {})
        return self.ask(method, path, headers=headers, json=body)

    def _subscribe(self, one: dict[str, str]) -> None:
        key, plan = f"{self.name}-{next(self.numbers)}", self.draw.choice(PLANS)
        told: dict[str, Any] = {}
        deadline = time.monotonic() + PATIENCE
        while not told.get("checkout_url") and time.monotonic() < deadline:
            answer = self.own("POST", one, "/api/v1/subscription/checkout", key, {"plan": plan})
            if answer is None or answer.status_code != 201:
                said = answer.text[:300] if answer is not None else ""
                return self.log.note("plan not ordered", account=one["account"], body=said)
            told = answer.json()
        if not told.get("checkout_url") or self.draw.random() < 0.1:
            return self.log.note("plan page left", account=one["account"])
        fate = self.draw.random()
        card = BAD_CARD if fate < 0.15 else self.draw.choice(clients_refunds.CARDS) if fate < 0.4 else GOOD_CARD
        if not self.pay_by_card(told["checkout_url"], card):
            return self.log.note("plan not paid", account=one["account"])
        self.log.note("plan paid", account=one["account"], subscription=told["id"])
        self.sessions[one["account"]] = told["checkout_url"].rsplit("/", 1)[-1]
        for _look in range(4):
            shown = self.own("GET", one, "/api/v1/subscription")
            if shown is not None and shown.status_code == 200 and shown.json()["status"] != "none":
                return self.log.note("plan begun", account=one["account"], subscription=told["id"])
            time.sleep(1)
        return None

    def _change(self, one: dict[str, str], current: str) -> None:
        wanted = self.draw.choice([plan for plan in PLANS if plan != current])
        shown = self.own("POST", one, "/api/v1/subscription/preview", body={"plan": wanted})
        if shown is None or shown.status_code != 200:
            return
        key = f"{self.name}-{next(self.numbers)}"
        body = {"plan": wanted, "at": shown.json()["at"]}
        done = self.own("POST", one, "/api/v1/subscription/change", key, body)
        if done is None or done.status_code != 200:
            return self.log.note("plan not changed", account=one["account"], body=done.text[:300] if done else "")
        self.log.note("plan changed", account=one["account"], change=done.json()["id"], status=done.json()["status"])

    def _cancel(self, one: dict[str, str], *, on: bool) -> None:
        key = f"{self.name}-{next(self.numbers)}"
        done = self.own("POST", one, "/api/v1/subscription/cancel", key, {"cancel": on})
        if done is not None and done.status_code == 200:
            self.log.note("plan ends" if on else "plan goes on", account=one["account"])

    def _give_back(self, one: dict[str, str]) -> None:
        def ask(method: str, path: str, key: str, body: object) -> Any:
            return self.own(method, one, path, key, body)

        key = f"{self.name}-{next(self.numbers)}"
        clients_refunds.give_plan_back(ask, key, draw=self.draw, log=self.log, account=one["account"])

    def _provider_does(self, one: dict[str, str], move: str) -> None:
        """What time does at the provider: a month passes in a second."""
        session = self.sessions.get(one["account"])
        if session is None:
            return
        page = self.ask("GET", f"/sandbox/v1/checkout/sessions/{session}", headers=self.provider)
        if page is None or page.status_code != 200 or not page.json()["subscription"]:
            return
        actions = {"renew": ["renew"], "decline and renew": ["fail_next_payment", "renew"], "end": ["cancel"]}[move]
        for action in actions:
            body = {"id": page.json()["subscription"], "action": action}
            done = self.ask("POST", "/sandbox/control/subscriptions", json=body)
            if done is not None and done.status_code == 200:
                self.log.note(f"provider: {action}", account=one["account"])


def shares(accounts: list[dict[str, str]], seed: int, threads: int) -> list[list[dict[str, str]]]:
    """The accounts dealt out, so that no two threads buy a plan for the same one."""
    dealt = random.Random(seed).sample(accounts, len(accounts))
    return [dealt[n::threads] for n in range(threads)]
