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
# Stripe's published list of decline codes (docs.stripe.com/declines/codes), and the codes of failures without one.
PUBLISHED = [
    "authentication_not_handled",
    "authentication_required",
    "approve_with_id",
    "call_issuer",
    "card_not_supported",
    "card_velocity_exceeded",
    "currency_not_supported",
    "do_not_honor",
    "do_not_try_again",
    "duplicate_transaction",
    "expired_card",
    "fraudulent",
    "generic_decline",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_pin",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_account",
    "invalid_amount",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "invalid_pin",
    "issuer_not_available",
    "lost_card",
    "merchant_blacklist",
    "mobile_device_authentication_required",
    "new_account_information_available",
    "no_action_taken",
    "not_permitted",
    "offline_pin_required",
    "online_or_offline_pin_required",
    "pickup_card",
    "pin_try_exceeded",
    "processing_error",
    "reenter_transaction",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "security_violation",
    "service_not_allowed",
    "stolen_card",
    "stop_payment_order",
    "test_mode_live_card",
    "testmode_decline",
    "transaction_not_allowed",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
    "payment_intent_authentication_failure",
    "payment_intent_payment_attempt_expired",
    "payment_intent_payment_attempt_failed",
    "payment_method_customer_decline",
    "payment_method_not_available",
    "payment_method_provider_decline",
    "payment_method_provider_timeout",
    "payment_method_restricted",
    "payment_method_unactivated",
    "alipay_upgrade_required",
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


@pytest.mark.parametrize("code", PUBLISHED)
def test_every_code_that_the_provider_publishes_was_given_a_text_on_purpose(code: str) -> None:
    assert failures.known(code)
    assert classify(code=code, decline_code=code).title


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("payment_method_provider_decline", "wallet_declined"),
        ("payment_intent_payment_attempt_failed", "wallet_declined"),
        ("payment_method_customer_decline", "wallet_cancelled"),
        ("payment_intent_payment_attempt_expired", "wallet_expired"),
        ("payment_method_provider_timeout", "wallet_expired"),
        ("payment_method_not_available", "wallet_unavailable"),
        ("payment_intent_authentication_failure", "not_confirmed"),
    ],
)
def test_a_payment_app_has_texts_of_its_own(code: str, key: str) -> None:
    assert classify(code=code).key == key
    assert "card" not in str(classify(code="payment_intent_payment_attempt_expired").title)
