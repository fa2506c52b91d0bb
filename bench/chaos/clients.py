"""Clients that never give up early and write down every answer that acknowledged something.

What stands in the log is a promise that was made to somebody outside: the verdict holds the books against it.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx

PATIENCE: Final = 45.0
"""Seconds that a client tries one request again before it lets go of it; then the outcome is open."""
CARDS: Final = {"4242424242424242": 12, "4000000000009995": 3, "4000000000007726": 3, "4000000000005126": 2}
"""Good; declined; its refunds are pending first; its refunds fail later."""
FINAL: Final = frozenset({"flow_5h_exhausted", "flow_week_exhausted", "flow_period_exhausted"})
"""What 429 says when waiting for a moment does not help."""


class Log:
    """One JSON line an acknowledgement, written before the client goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}

    def note(self, what: str, **facts: Any) -> None:
        """Something was acknowledged, or let go."""
        with self._lock:
            self._file.write(json.dumps({"what": what, **facts}) + "\n")
            self.counts[what] = self.counts.get(what, 0) + 1


class Client(threading.Thread):
    """Works until told to stop, and then finishes what it has begun."""

    def __init__(self, url: str, log: Log, over: threading.Event, *, seed: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.log, self.over, self.name = log, over, seed
        self.draw = random.Random(seed)
        self.http = httpx.Client(base_url=url, timeout=10, headers=headers)
        self.numbers = itertools.count()

    def run(self) -> None:
        """One piece of work after the other."""
        while not self.over.is_set():
            self.once()

    def once(self) -> None:
        """One piece of work."""
        raise NotImplementedError

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The same request until it is answered for good: silence and 5xx are asked again, as is 429 but for full windows."""
        deadline = time.monotonic() + PATIENCE
        wait = 0.1
        while time.monotonic() < deadline:
            try:
                answer = self.http.request(method, path, **more)
            except httpx.HTTPError:
                pass
            else:
                if answer.status_code < 500 and (answer.status_code != 429 or code_of(answer) in FINAL):
                    return answer
            time.sleep(wait * self.draw.uniform(0.5, 1.5))
            wait = min(wait * 2, 2.0)
        return None

    def pay_by_card(self, page: str, number: str) -> bool:
        """Press the button of the provider's page until it says that it is paid or closed; True when it was paid."""
        form = {"number": number, "expiry": "12/34", "cvc": "123", "email": "buyer@example.com", "name": "Bo Buyer"}
        return self.press(page, "card", form)

    def press(self, page: str, button: str, form: dict[str, str]) -> bool:
        """Send a form of the provider's page; True when it led away from the page."""
        shown = self.ask("GET", page)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown.text) if shown else None
        if token is None:
            return False
        posted = {**form, "csrfmiddlewaretoken": token[1]}
        done = self.ask("POST", f"{page}/{button}", data=posted, headers={"Referer": page}, follow_redirects=False)
        return done is not None and done.status_code == 303


def code_of(answer: httpx.Response) -> str:
    """The code of a refusal, or nothing."""
    try:
        return str(answer.json().get("code", ""))
    except ValueError:
        return ""


class Caller(Client):
    """A gateway: authorise, then capture or void; some captures are sent twice, some calls are left open."""

    def __init__(self, *arguments: Any, keys: list[dict[str, str]], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.keys = keys

    def once(self) -> None:
        """One call."""
        key = self.draw.choice(self.keys)
        request_id = f"{self.name}-{next(self.numbers)}"
        body = {
            "request_id": request_id,
            "api_key": key["secret"],
            "model": "chaos/model",
            "estimate": {"input_tokens": 200, "max_output_tokens": 200},
        }
        opened = self.ask("POST", "/api/v1/authorizations", json=body)
        if opened is None:
            return self.log.note("open", request_id=request_id, account=key["account"])
        if opened.status_code not in (200, 201):
            return self.log.note("denied", request_id=request_id, status=opened.status_code, code=code_of(opened))
        path = f"/api/v1/authorizations/{opened.json()['id']}"
        fate = self.draw.random()
        if fate < 0.04:
            return self.log.note("left open", request_id=request_id, account=key["account"])
        if fate < 0.14:
            voided = self.ask("POST", f"{path}/void", json={"reason": "upstream_error"})
            if voided is not None and voided.status_code == 200:
                self.log.note("voided", request_id=request_id, account=key["account"])
            return None
        usage = {"input_tokens": self.draw.randint(1, 200), "output_tokens": self.draw.randint(1, 300)}
        answers = set()
        for _time in range(2 if fate > 0.9 else 1):
            captured = self.ask("POST", f"{path}/capture", json={"usage": usage})
            if captured is None:
                return self.log.note("open", request_id=request_id, account=key["account"])
            if captured.status_code != 200:
                return self.log.note("refused", request_id=request_id, body=captured.text[:300])
            done = captured.json()
            answers.add((done["funding"], done["charge"], done["flows"]))
        for funding, charge, flows in answers:
            facts = {"funding": funding, "charge": charge, "flows": flows}
            self.log.note("captured", request_id=request_id, account=key["account"], **facts)
        return None


class Buyer(Client):
    """A customer who orders credit, pays at the provider's page, and looks whether it came."""

    def __init__(self, *arguments: Any, account: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.account = account
        self.methods = ["card", "card", "alipay", "wechat_pay"]

    def once(self) -> None:
        """One order."""
        key = f"{self.name}-{next(self.numbers)}"
        body = {
            "amount": f"{self.draw.randint(5, 90)}.{self.draw.randint(0, 99):02d}",
            "method": self.draw.choice(self.methods),
        }
        order: dict[str, Any] = {}
        deadline = time.monotonic() + PATIENCE
        while not order.get("checkout_url") and time.monotonic() < deadline:
            answer = self.ask("POST", "/api/v1/top-ups", json=body, headers={"Idempotency-Key": key})
            if answer is None or answer.status_code not in (200, 201):
                self.log.note("not ordered", key=key, body=answer.text[:300] if answer else "")
                return
            order = answer.json()
        self.log.note("ordered", key=key, order=order["order"], account=self.account)
        if order.get("checkout_url") and self.draw.random() > 0.1:
            self._pay(order, body["method"])
        for _look in range(8):
            shown = self.ask("GET", f"/api/v1/top-ups/{order['order']}")
            if shown is not None and shown.status_code == 200 and shown.json()["status"] == "credited":
                self.log.note("credited", order=order["order"], account=self.account, amount=shown.json()["amount"])
                self.after(order["order"], Decimal(shown.json()["amount"]))
                return
            time.sleep(1)

    def after(self, order: str, amount: Decimal) -> None:
        """What the customer does when the credit has come."""

    def _pay(self, order: dict[str, Any], method: str) -> None:
        """Press the button until the page says that it is paid or closed."""
        page = order["checkout_url"]
        if method == "card":
            paid = self.pay_by_card(page, self.draw.choices(list(CARDS), list(CARDS.values()))[0])
        else:
            outcome = self.draw.choice(["succeed", "succeed", "delayed_succeed", "fail"])
            paid = self.press(page, "wallet", {"kind": method, "outcome": outcome}) and outcome != "delayed_succeed"
        if paid:
            self.log.note("paid", order=order["order"], account=self.account)


class Redeemer(Client):
    """A customer with codes that others try as well."""

    def __init__(self, *arguments: Any, account: str, codes: list[str], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.account, self.codes = account, codes

    def once(self) -> None:
        """One code, as long as there are any."""
        number = next(self.numbers)
        if number >= len(self.codes):
            self.over.wait(1)
            return
        code = self.codes[number]
        headers = {"Idempotency-Key": f"{self.name}-{number}"}
        answer = self.ask("POST", "/api/v1/vouchers/redeem", json={"code": code}, headers=headers)
        if answer is not None and answer.status_code in (200, 201):
            self.log.note("redeemed", code=code, account=self.account, at=answer.json()["at"])
        elif answer is not None:
            self.log.note("not redeemed", code=code, account=self.account, status=answer.status_code)
        time.sleep(self.draw.uniform(0.05, 0.6))
