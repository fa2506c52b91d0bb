"""The API without a server: for a demo that tells a story of the last weeks before any server runs.

An `HTTPClient` for the SDK answers each request by the same code as the server, at the time that it is told.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import stripe
from django.db import transaction

from sandbox import api, cards, checkout, store
from sandbox.errors import ApiError
from sandbox.models import RequestLog
from sandbox.store import Moment


class Client(stripe.HTTPClient):
    """Answers as the server would at the moment `now`, which its owner moves on."""

    name = "sandbox"

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self.now = now

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        """Body, status and headers of the answer. The request is logged like every other."""
        asked, told = urlsplit(url), {name.lower(): value for name, value in (headers or {}).items()}
        entry = RequestLog(
            request_id=store.new_id("request", self.now),
            at=self.now,
            method=method.upper(),
            path=f"/v1/{asked.path.partition('/v1/')[2]}",
            idempotency_key=told.get("idempotency-key", ""),
            query=post_data or asked.query,
        )
        try:
            entry.status, entry.answer, entry.replayed = api.answer(
                entry.method, entry.path, entry.query, entry, self.now
            )
        except ApiError as refusal:
            entry.status, entry.answer = refusal.status, {"error": refusal.body}
        entry.save(force_insert=True)
        return json.dumps(entry.answer), entry.status, {"request-id": entry.request_id}

    def close(self) -> None:
        """Nothing is open."""


def pay(session_id: str, *, card: str, email: str, name: str, now: datetime) -> bool:
    """Fill in the card form of a hosted page, as a browser would; whether the payment worked."""
    found = cards.lookup(card)
    with transaction.atomic():
        session = store.get("checkout.session", session_id, lock=True)
        charge = checkout.pay_by_card(
            session,
            found,
            found.outcome,
            month=12,
            year=now.year + 5,
            email=email,
            name=name,
            moment=Moment(now),
        )
    return charge is None or bool(charge.data["status"] == "succeeded")
