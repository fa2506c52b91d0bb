"""Stripe's documented test cards and what becomes of a payment with each of them."""

from dataclasses import dataclass, replace
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop


@dataclass(frozen=True)
class Outcome:
    """What the issuer and the risk checks say to an attempt; without a code it succeeds."""

    code: str = ""
    decline_code: str = ""
    message: str = ""
    kind: str = "issuer_declined"  # or "blocked": not even sent to the network
    reason: str = ""
    risk_level: str = "normal"
    risk_score: int = 14
    rule: str = ""
    cvc_check: str = "pass"

    @property
    def succeeds(self) -> bool:
        return not self.code


_DECLINED = gettext_noop("Your card was declined.")
MESSAGES = {
    "authentication_required": gettext_noop("Your card was declined. This transaction requires authentication."),
    "card_not_supported": gettext_noop("Your card does not support this type of purchase."),
    "card_velocity_exceeded": gettext_noop(
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit."
    ),
    "currency_not_supported": gettext_noop("Your card does not support this currency."),
    "expired_card": gettext_noop("Your card has expired."),
    "incorrect_cvc": gettext_noop("Your card's security code is incorrect."),
    "incorrect_number": gettext_noop("Your card number is incorrect."),
    "insufficient_funds": gettext_noop("Your card has insufficient funds."),
    "invalid_account": gettext_noop("Your card was declined."),
    "processing_error": gettext_noop("An error occurred while processing your card. Try again in a little bit."),
    "test_mode_live_card": gettext_noop(
        "Your card was declined. Your request was in test mode, but used a non test card."
    ),
}
_OWN_CODE = {"authentication_required", "expired_card", "incorrect_cvc", "incorrect_number", "processing_error"}
# fmt: off
DECLINE_CODES = (
    "approve_with_id", "authentication_required", "call_issuer", "card_not_supported", "card_velocity_exceeded",
    "currency_not_supported", "do_not_honor", "do_not_try_again", "duplicate_transaction", "expired_card",
    "fraudulent", "generic_decline", "incorrect_cvc", "incorrect_number", "insufficient_funds", "invalid_account",
    "invalid_amount", "issuer_not_available", "lost_card", "merchant_blacklist",
    "new_account_information_available", "no_action_taken", "not_permitted", "pickup_card", "processing_error",
    "reenter_transaction", "restricted_card", "revocation_of_all_authorizations", "security_violation",
    "service_not_allowed", "stolen_card", "stop_payment_order", "test_mode_live_card", "transaction_not_allowed",
    "try_again_later", "withdrawal_count_limit_exceeded",
)
RULES = (
    "rule_cards_per_device", "rule_declines_per_email", "rule_card_first_seen", "rule_authorization_rate_email",
    "rule_name_mismatch",
)
# fmt: on
"""Rules as one would write them for Radar, so that each risk reason of a payment failure can be walked."""


def declined(decline_code: str) -> Outcome:
    """A refusal by the issuer with this code."""
    code = decline_code if decline_code in _OWN_CODE else "card_declined"
    check = "fail" if decline_code == "incorrect_cvc" else "pass"
    message = MESSAGES.get(decline_code, _DECLINED)
    return Outcome(code, decline_code, message, reason=decline_code, cvc_check=check)


def blocked(reason: str = "highest_risk_level", rule: str = "") -> Outcome:
    """A refusal by the risk checks before the issuer was asked."""
    level, score = ("highest", 92) if not rule else ("normal", 41)
    return Outcome("card_declined", "fraudulent", _DECLINED, "blocked", reason, level, score, rule)


SUCCESS = Outcome()
ELEVATED = replace(SUCCESS, reason="elevated_risk_level", risk_level="elevated", risk_score=71)


@dataclass(frozen=True)
class TestCard:
    number: str
    brand: str
    says: str | Promise
    outcome: Outcome = SUCCESS
    funding: str = "credit"
    later: str = ""  # what happens after the payment: refund_pending, refund_fails, dispute…
    challenge: bool = False  # the bank asks the holder to confirm: 3-D Secure
    kept: Outcome | None = None  # charges of the kept card, its owner away; none: as the card's own

    __test__ = False  # pytest: this is not a test class

    @property
    def spaced(self) -> str:
        return " ".join(self.number[at : at + 4] for at in range(0, len(self.number), 4))

    def setup_outcome(self, *, confirmed: bool) -> Outcome:
        """What the bank says when the card is given to be kept; a charge may still be refused later."""
        if self.challenge and not confirmed:
            return NOT_CONFIRMED
        return SUCCESS if self.kept is not None else self.outcome

    def off_session_outcome(self) -> Outcome:
        """What becomes of a charge of the kept card, its owner away."""
        return self.outcome if self.kept is None else self.kept


NOT_CONFIRMED = Outcome(
    code="setup_intent_authentication_failure",
    message=gettext_noop(
        "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    ),
)
CARDS = [
    TestCard("4242424242424242", "visa", _("Succeeds")),
    TestCard("5555555555554444", "mastercard", _("Succeeds")),
    TestCard("378282246310005", "amex", _("Succeeds")),
    TestCard("4000056655665556", "visa", _("Succeeds (debit)"), funding="debit"),
    TestCard("4000000000009235", "visa", _("Succeeds with elevated risk"), ELEVATED),
    TestCard("4000000000000002", "visa", _("Declined: no reason given"), declined("generic_decline")),
    TestCard("4000000000009995", "visa", _("Declined: insufficient funds"), declined("insufficient_funds")),
    TestCard("4000000000009987", "visa", _("Declined: lost card"), declined("lost_card")),
    TestCard("4000000000009979", "visa", _("Declined: stolen card"), declined("stolen_card")),
    TestCard("4000000000000069", "visa", _("Declined: expired card"), declined("expired_card")),
    TestCard("4000000000000127", "visa", _("Declined: wrong security code"), declined("incorrect_cvc")),
    TestCard("4000000000000119", "visa", _("Declined: processing error"), declined("processing_error")),
    TestCard("4242424242424241", "visa", _("Declined: wrong card number"), declined("incorrect_number")),
    TestCard("4000000000006975", "visa", _("Declined: used too often"), declined("card_velocity_exceeded")),
    TestCard("4100000000000019", "visa", _("Blocked: highest risk"), blocked()),
    TestCard("4000000000000259", "visa", _("Succeeds, then disputed as fraudulent"), later="dispute"),
    TestCard(
        "4000000000000341",
        "visa",
        _("Can be kept; every charge is declined"),
        declined("generic_decline"),
        kept=declined("generic_decline"),
    ),
    TestCard(
        "4000002500003155", "visa", _("3-D Secure; once when it is kept, then succeeds"), challenge=True, kept=SUCCESS
    ),
    TestCard(
        "4000008260003178",
        "visa",
        _("3-D Secure; can be kept, charges have insufficient funds"),
        declined("insufficient_funds"),
        challenge=True,
        kept=declined("insufficient_funds"),
    ),
    TestCard("4000000000007726", "visa", _("Succeeds; a refund is pending first"), later="refund_pending"),
    TestCard(
        "4000002760003184",
        "visa",
        _("3-D Secure, then succeeds"),
        challenge=True,
        kept=declined("authentication_required"),
    ),
    TestCard(
        "4000000000003220",
        "visa",
        _("3-D Secure, then succeeds"),
        challenge=True,
        kept=declined("authentication_required"),
    ),
    TestCard("4000008400001629", "visa", _("3-D Secure, then declined"), declined("generic_decline"), challenge=True),
    TestCard("4000000000005126", "visa", _("Succeeds; a refund fails later"), later="refund_fails"),
]
_BY_NUMBER = {card.number: card for card in CARDS}


def passes_luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def lookup(number: str) -> TestCard:
    """The test card with this number; any other number is wrong, or not a test card."""
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    outcome = declined("test_mode_live_card") if passes_luhn(number) else declined("incorrect_number")
    return TestCard(number, _brand(number), "", outcome)


def chosen(name: str) -> Outcome | None:
    """An outcome asked for by name, whatever the card: a decline code, a risk rule, or none for the card's own."""
    if name in DECLINE_CODES:
        return declined(name)
    if name in RULES:
        return blocked("rule", name)
    return None


def _brand(number: str) -> str:
    for prefix, brand in (
        ("4", "visa"),
        ("5", "mastercard"),
        ("2", "mastercard"),
        ("34", "amex"),
        ("37", "amex"),
        ("6", "discover"),
    ):
        if number.startswith(prefix):
            return brand
    return "unknown"


def charge_outcome(outcome: Outcome) -> dict[str, Any]:
    """The `outcome` of a charge."""
    base: dict[str, Any] = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": outcome.reason or None,
        "risk_level": outcome.risk_level,
        "risk_score": outcome.risk_score,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if outcome.succeeds:
        return base
    if outcome.kind == "blocked":
        told = "A rule blocked this payment." if outcome.rule else "Stripe blocked this payment as too risky."
        rule = {"rule": outcome.rule} if outcome.rule else {}
        return {**base, **rule, "network_status": "not_sent_to_network", "seller_message": told, "type": "blocked"}
    return {
        **base,
        "network_decline_code": "51" if outcome.decline_code == "insufficient_funds" else "05",
        "network_status": "declined_by_network",
        "seller_message": f"The bank answered with the decline code `{outcome.decline_code}`.",
        "type": "issuer_declined",
    }
