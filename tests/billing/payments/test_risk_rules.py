"""Our own rules (F028-F032): what passes, what holds, what refuses, and that names are compared softly."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from billing.payments import failures
from billing.payments.risk_rules import (
    AFTER,
    BEFORE,
    DEFAULTS,
    HOLD,
    NOTE,
    PASS,
    REFUSALS,
    REFUSE,
    Facts,
    judge,
    refusal,
    same_person,
    worst,
)


def facts(**given: Any) -> Facts:
    return Facts(**{"amount_usd": Decimal(given.pop("usd", 20)), **given})


@pytest.mark.parametrize(
    ("stage", "given", "verdict"),
    [
        (BEFORE, {"cards_on_device": 7}, PASS),
        (BEFORE, {"cards_on_device": 8}, REFUSE),
        (AFTER, {"cards_on_device": 4}, PASS),
        (AFTER, {"cards_on_device": 5}, HOLD),
        (BEFORE, {"declines_on_email": 14}, PASS),
        (BEFORE, {"declines_on_email": 15}, REFUSE),
        (AFTER, {"declines_on_email": 10}, HOLD),
        (BEFORE, {"attempts_on_email": 20, "successes_on_email": 2}, REFUSE),
        (BEFORE, {"attempts_on_email": 20, "successes_on_email": 3}, PASS),
        (BEFORE, {"attempts_on_email": 19, "successes_on_email": 0}, PASS),  # too few to say anything
        (AFTER, {"attempts_on_email": 20, "successes_on_email": 6}, HOLD),
        (AFTER, {"card_age_minutes": 59, "usd": 1000}, HOLD),
        (AFTER, {"card_age_minutes": 60, "usd": 1000}, PASS),
        (AFTER, {"card_age_minutes": 0, "usd": "999.99"}, PASS),
        (BEFORE, {"card_age_minutes": 0, "usd": 5000}, PASS),
        (AFTER, {"holder": "Li Wei", "known_names": ("Pat",)}, NOTE),
        (AFTER, {"holder": "Li Wei", "known_names": ("Pat",), "usd": 2000}, HOLD),
        (AFTER, {"provider_level": "normal"}, PASS),
        (AFTER, {"provider_level": "elevated"}, HOLD),
        (AFTER, {"provider_level": "highest"}, HOLD),
        (AFTER, {"provider_level": "a level of next year"}, PASS),
        (AFTER, {}, PASS),
        (BEFORE, {}, PASS),
    ],
)
def test_each_rule_says_what_its_threshold_says(stage: str, given: dict[str, Any], verdict: str) -> None:
    assert worst(judge(facts(**given), DEFAULTS, stage=stage)) == verdict


def test_a_rule_that_is_off_or_without_a_threshold_says_nothing_against_it() -> None:
    many = facts(cards_on_device=400)
    off = {**DEFAULTS, "cards_per_device": replace(DEFAULTS["cards_per_device"], enabled=False)}
    never = {**DEFAULTS, "cards_per_device": replace(DEFAULTS["cards_per_device"], refuse_at=None)}
    assert judge(many, off, stage=BEFORE) == []
    assert worst(judge(many, never, stage=BEFORE)) == PASS


def test_every_refusal_has_a_text_of_the_risk_class() -> None:
    for rule, key in REFUSALS.items():
        assert rule in DEFAULTS
        assert failures.reason(key).key == key
        assert failures.reason(key).failure_class == "risk"
    found = judge(facts(cards_on_device=9, declines_on_email=20), DEFAULTS, stage=BEFORE)
    assert refusal(found) == "too_many_cards_on_device"


@pytest.mark.parametrize(
    ("holder", "known", "same"),
    [
        ("PAT PAYER", ("Pat",), True),
        ("Müller, Jürgen", ("jurgen",), True),
        ("Wei Zhang", ("zhangwei88",), True),
        ("Pat Payer", ("张伟",), True),  # another script says nothing
        ("Pat Payer", ("", ""), True),
        ("J", ("Pat",), True),
        ("12345", ("Pat",), True),
        ("Li Na", ("Pat", "pat.payer", "Northwind Labs"), False),
        ("Northwind", ("Pat", "Northwind Labs"), True),
    ],
)
def test_names_are_compared_softly(holder: str, known: tuple[str, ...], same: bool) -> None:
    assert same_person(holder, known) is same
