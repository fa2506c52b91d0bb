"""F023–F033: which text a refusal gets, and that none tells a thief what the bank knows."""

from __future__ import annotations

import pytest

from billing.payments import failures
from billing.payments.failures import Class, classify

ISSUER = [  # F023–F027
    ("transaction_not_allowed", "channel_not_activated"),
    ("service_not_allowed", "channel_not_activated"),
    ("card_not_supported", "channel_not_activated"),
    ("expired_card", "card_expired_or_frozen"),
    ("restricted_card", "card_expired_or_frozen"),
    ("insufficient_funds", "insufficient_funds"),
    ("incorrect_number", "wrong_number"),
    ("invalid_number", "wrong_number"),
    ("incorrect_cvc", "wrong_security_code"),
    ("invalid_cvc", "wrong_security_code"),
    ("processing_error", "temporary"),
    ("authentication_required", "not_confirmed"),
    ("do_not_honor", "declined"),
    ("a_code_of_next_year", "declined"),
]
RISK = [  # F028–F032
    ("rule_cards_per_device", "too_many_cards_on_device"),
    ("rule_declines_per_email", "many_declines_on_email"),
    ("rule_card_first_seen", "card_first_seen"),
    ("rule_authorization_rate_email", "low_authorisation_rate"),
    ("rule_name_mismatch", "name_mismatch"),
    ("", "blocked"),
]


@pytest.mark.parametrize(("code", "key"), ISSUER)
def test_a_decline_code_of_the_bank_chooses_its_text(code: str, key: str) -> None:
    found = classify(code="card_declined", decline_code=code)
    assert (found.key, found.failure_class) == (key, Class.ISSUER)


@pytest.mark.parametrize(("rule", "key"), RISK)
def test_a_risk_rule_chooses_its_text_whatever_the_decline_code_says(rule: str, key: str) -> None:
    found = classify(code="card_declined", decline_code="fraudulent", blocked=True, risk="rule", rule=rule)
    assert (found.key, found.failure_class) == (key, Class.RISK)


@pytest.mark.parametrize("code", sorted(failures.SILENT))
def test_lost_stolen_and_fraudulent_read_like_a_refusal_without_a_reason(code: str) -> None:
    assert classify(code="card_declined", decline_code=code) is classify(
        code="card_declined", decline_code="generic_decline"
    )


def test_the_code_counts_where_no_decline_code_comes() -> None:
    assert classify(code="incorrect_cvc").key == "wrong_security_code"
    assert classify(code="").key == "declined"


def test_every_text_says_what_to_do_and_that_nothing_was_charged() -> None:
    for one in failures.reasons():
        assert str(one.title)
        assert str(one.why)
        assert "You were not charged." in str(one.advice)
    assert len({one.key for one in failures.reasons()}) == len(failures.reasons())
    assert failures.reason("of another release").key == "declined"
