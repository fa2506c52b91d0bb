"""Campaigns and codes, as tests need them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Account
from billing.books import campaigns, vouchers
from billing.books.models_vouchers import Redemption, VoucherCampaign
from tests.factories import NOON

HOUR = timedelta(hours=1)
_numbers = itertools.count(1)
TERMS = campaigns.Terms(name="Spring", kind="voucher", amount=Decimal(5), total=100, valid_from=NOON - HOUR)
SAID: dict[str, Any] = {"actor": None, "reason": "a test", "now": NOON - HOUR}


def campaign(*, active: bool = True, **terms: Any) -> VoucherCampaign:
    """A campaign, active unless told otherwise."""
    made = campaigns.create(replace(TERMS, **terms), **SAID)
    return campaigns.activate(made.pk, **SAID) if active else made


def codes(of: VoucherCampaign, count: int = 1) -> list[str]:
    """Codes for one redemption each."""
    return campaigns.make_codes(of.pk, count, shared=False, key=f"test:{next(_numbers)}", **SAID)


def shared_code(of: VoucherCampaign) -> str:
    """One code for all."""
    [code] = campaigns.make_codes(of.pk, 1, shared=True, key=f"test:{next(_numbers)}", **SAID)
    return code


def redeem(account: Account, code: str, *, now: datetime = NOON, ip: str = "192.0.2.1", key: str = "") -> Redemption:
    """One attempt, with a key of its own unless given."""
    return vouchers.redeem(account.pk, code, user=None, key=key or f"test:{next(_numbers)}", ip=ip, now=now)


def wrong_code() -> str:
    """Well formed, and never made."""
    from billing.books import voucher_codes

    return voucher_codes.new().shown
