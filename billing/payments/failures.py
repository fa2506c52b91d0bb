"""Why a payment was refused, in the customer's words (F023–F033). Pure but for translation.

A provider's decline code and risk outcome choose one of our texts and its class: the issuer said no (talk to the
bank), or a risk check did (look at what you entered). Codes that would tell a thief what the bank knows read like any
other refusal; staff see the code on the attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


class Class(StrEnum):
    """Who said no."""

    ISSUER = "issuer"
    RISK = "risk"


CLASSES: Final = ((Class.ISSUER.value, _("bank")), (Class.RISK.value, _("risk check")))


@dataclass(frozen=True, slots=True)
class Reason:
    """What happened, why, and what to do."""

    key: str
    failure_class: Class
    title: Text
    why: Text
    advice: Text


_BANK: Final = _(
    "Contact the bank that issued your card and ask why it refused the payment, or pay with another card. "
    "You were not charged."
)
_CHECK: Final = _(
    "Check what you entered: use your own card, the name that is on it, and the e-mail address you normally pay with; "
    "then wait a while before you try again. If it happens again, write to support with this order's number. "
    "You were not charged."
)


def _issuer(key: str, title: Text, why: Text, advice: Text = _BANK) -> Reason:
    return Reason(key, Class.ISSUER, title, why, advice)


def _risk(key: str, title: Text, why: Text, advice: Text = _CHECK) -> Reason:
    return Reason(key, Class.RISK, title, why, advice)


_BY_KEY: Final[dict[str, Reason]] = {
    reason.key: reason
    for reason in (
        _issuer(  # F023
            "channel_not_activated",
            _("Your bank declined the card: this kind of payment is not activated"),
            _("The bank has not activated the card for online or international payments, or for this payment channel."),
            _(
                "Ask your bank to activate online and international payments for this card, or pay with another card. "
                "You were not charged."
            ),
        ),
        _issuer(  # F024
            "card_expired_or_frozen",
            _("Your bank declined the card: it has expired or is frozen"),
            _("The bank says that this card has expired, is frozen or is no longer valid."),
            _("Check the card's date, ask your bank to unfreeze it, or pay with another card. You were not charged."),
        ),
        _issuer(  # F025
            "insufficient_funds",
            _("Your bank declined the card: insufficient funds"),
            _("The card's balance or its limit does not cover this payment."),
            _("Try a smaller amount or another card, or ask your bank about the card's limit. You were not charged."),
        ),
        _issuer(  # F026
            "wrong_number",
            _("The card number is wrong"),
            _("There is no card with the number that was entered."),
            _("Enter the number again as it is on the card; if it is right, ask your bank. You were not charged."),
        ),
        _issuer(  # F027
            "wrong_security_code",
            _("The security code is wrong"),
            _("The bank says that the card's security code (CVC) does not match."),
            _(
                "Enter the three digits on the back of the card again (four on the front of American Express); "
                "if they are right, ask your bank. You were not charged."
            ),
        ),
        _risk(  # F028
            "too_many_cards_on_device",
            _("The payment was stopped: too many cards on this device"),
            _("More cards than usual were tried on this device."),
        ),
        _risk(  # F029
            "many_declines_on_email",
            _("The payment was stopped: many declined cards for this e-mail address"),
            _("A large number of cards was declined for this e-mail address."),
        ),
        _risk(  # F030
            "card_first_seen",
            _("The payment was stopped: this card is new to the payment network on this device"),
            _("The card was first seen on the payment network with this device only very recently."),
            _(
                "Wait a day and try again, or use a card or a device that you have paid with online before. "
                "You were not charged."
            ),
        ),
        _risk(  # F031
            "low_authorisation_rate",
            _("The payment was stopped: few payments of this e-mail address succeed"),
            _("Banks approved only a very small share of the payments made with this e-mail address."),
        ),
        _risk(  # F032
            "name_mismatch",
            _("The payment was stopped: the name does not match the card"),
            _("The name that belongs to the e-mail address is not the name on the card."),
            _(
                "Enter the name as it is on the card, and use an e-mail address that belongs to the card's holder. "
                "You were not charged."
            ),
        ),
        _issuer(
            "declined",
            _("Your bank declined the card"),
            _("The bank refused the payment and gave no reason that we may pass on."),
        ),
        _risk(
            "blocked",
            _("The payment was stopped by a risk check"),
            _("The payment provider judged this payment to be too risky."),
        ),
        _issuer(
            "not_confirmed",
            _("The payment was not confirmed"),
            _("The bank or the payment app asked you to confirm the payment, and the confirmation did not arrive."),
            _(
                "Try again and confirm the payment in your bank's or the payment app, or pay another way. "
                "You were not charged."
            ),
        ),
        _issuer(
            "wrong_details",
            _("The card's date or the billing address is wrong"),
            _("The bank says that the expiry date, the PIN or the postal code does not match the card."),
            _(
                "Enter the card's date and your billing postal code again as your bank knows them; "
                "if they are right, ask your bank. You were not charged."
            ),
        ),
        _issuer(
            "duplicate",
            _("Your bank declined the card: it looks like the same payment again"),
            _("A payment of the same amount with this card was made a moment ago."),
            _(
                "Look at your last orders first: the payment may have arrived already. If not, wait a few minutes or "
                "choose another amount. You were not charged."
            ),
        ),
        _issuer(
            "amount_refused",
            _("Your bank declined the card: it does not allow this amount"),
            _("The amount is above or below what the bank allows for one payment with this card."),
            _("Try a smaller amount or another card, or ask your bank. You were not charged."),
        ),
        _issuer(
            "wallet_declined",
            _("The payment app did not accept the payment"),
            _("Alipay or WeChat Pay refused it: the balance, a limit or the card linked in the app may be the reason."),
            _(
                "Look in the app for the reason and at the balance, limits and linked cards there, or pay another way. "
                "You were not charged."
            ),
        ),
        _issuer(
            "wallet_cancelled",
            _("The payment was not approved in the app"),
            _("The payment was cancelled or refused in Alipay or WeChat Pay."),
            _("Try again and approve the payment in the app, or pay another way. You were not charged."),
        ),
        _issuer(
            "wallet_expired",
            _("The time to approve the payment was over"),
            _("The QR code or the payment in the app was not confirmed in time."),
            _("Try again and confirm the payment in the app within a few minutes. You were not charged."),
        ),
        _issuer(
            "wallet_unavailable",
            _("This way to pay is not available just now"),
            _("The payment app does not offer this payment at the moment, or the app is too old."),
            _("Update the app and try again in a few minutes, or pay another way. You were not charged."),
        ),
        _issuer(
            "temporary",
            _("The payment could not be processed just now"),
            _("The bank or the card network did not answer as expected."),
            _("Try again in a few minutes. If it happens again, pay with another card. You were not charged."),
        ),
        _risk(
            "refused_by_us",
            _("The payment could not be started"),
            _("The payment provider refused to open a payment page for this order."),
            _(
                "Try again with another amount. If it happens again, write to support with this order's number. "
                "You were not charged."
            ),
        ),
    )
}

# Every decline code that the provider documents, and the codes of failures without one. What is not listed reads
# "declined", whatever new codes may come.
_CODES: Final[dict[str, str]] = {
    # F023
    "card_not_supported": "channel_not_activated",
    "currency_not_supported": "channel_not_activated",
    "not_permitted": "channel_not_activated",
    "payment_method_currency_mismatch": "channel_not_activated",
    "payment_method_restricted": "channel_not_activated",
    "payment_method_unactivated": "channel_not_activated",
    "service_not_allowed": "channel_not_activated",
    "transaction_not_allowed": "channel_not_activated",
    # F024
    "expired_card": "card_expired_or_frozen",
    "invalid_account": "card_expired_or_frozen",
    "new_account_information_available": "card_expired_or_frozen",
    "restricted_card": "card_expired_or_frozen",
    # F025
    "card_velocity_exceeded": "insufficient_funds",
    "insufficient_funds": "insufficient_funds",
    "withdrawal_count_limit_exceeded": "insufficient_funds",
    # F026
    "incorrect_number": "wrong_number",
    "invalid_number": "wrong_number",
    # F027
    "incorrect_cvc": "wrong_security_code",
    "invalid_cvc": "wrong_security_code",
    # what was entered
    "incorrect_address": "wrong_details",
    "incorrect_pin": "wrong_details",
    "incorrect_zip": "wrong_details",
    "invalid_expiry_month": "wrong_details",
    "invalid_expiry_year": "wrong_details",
    "invalid_pin": "wrong_details",
    "pin_try_exceeded": "wrong_details",
    # what was asked
    "duplicate_transaction": "duplicate",
    "amount_too_large": "amount_refused",
    "amount_too_small": "amount_refused",
    "invalid_amount": "amount_refused",
    # who did not answer
    "authentication_not_handled": "not_confirmed",
    "authentication_required": "not_confirmed",
    "mobile_device_authentication_required": "not_confirmed",
    "offline_pin_required": "not_confirmed",
    "online_or_offline_pin_required": "not_confirmed",
    "payment_intent_authentication_failure": "not_confirmed",
    # Alipay and WeChat Pay
    "alipay_upgrade_required": "wallet_unavailable",
    "payment_intent_payment_attempt_expired": "wallet_expired",
    "payment_intent_payment_attempt_failed": "wallet_declined",
    "payment_method_customer_decline": "wallet_cancelled",
    "payment_method_not_available": "wallet_unavailable",
    "payment_method_provider_decline": "wallet_declined",
    "payment_method_provider_timeout": "wallet_expired",
    "payment_method_unexpected_state": "wallet_declined",
    # nobody's fault
    "approve_with_id": "temporary",
    "card_decline_rate_limit_exceeded": "many_declines_on_email",
    "issuer_not_available": "temporary",
    "processing_error": "temporary",
    "rate_limit": "temporary",
    "reenter_transaction": "temporary",
    "try_again_later": "temporary",
    # a refusal without a reason that may be passed on
    "call_issuer": "declined",
    "card_declined": "declined",
    "do_not_honor": "declined",
    "do_not_try_again": "declined",
    "generic_decline": "declined",
    "highest_risk_level": "blocked",
    "no_action_taken": "declined",
    "revocation_of_all_authorizations": "declined",
    "revocation_of_authorization": "declined",
    "security_violation": "declined",
    "stop_payment_order": "declined",
    "test_mode_live_card": "declined",
    "testmode_decline": "declined",
}
# Codes that must read like a refusal without a reason (04-payments 4.3).
SILENT: Final = frozenset({"lost_card", "stolen_card", "pickup_card", "fraudulent", "merchant_blacklist"})

# What the names of the risk rules at the provider contain, in our order of reading.
_RULES: Final[tuple[tuple[str, str], ...]] = (
    ("cards_per_device", "too_many_cards_on_device"),
    ("declines_per_email", "many_declines_on_email"),
    ("card_first_seen", "card_first_seen"),
    ("authorization_rate", "low_authorisation_rate"),
    ("name_mismatch", "name_mismatch"),
)


def reason(key: str) -> Reason:
    """The text for a stored key; a key of another release reads as a refusal without a reason."""
    return _BY_KEY.get(key, _BY_KEY["declined"])


def reasons() -> tuple[Reason, ...]:
    """All of them, for the help pages and for tests."""
    return tuple(_BY_KEY.values())


def known(code: str) -> bool:
    """Whether a code of the provider has a text of its own choosing here."""
    return code in _CODES or code in SILENT


def classify(*, code: str, decline_code: str = "", blocked: bool = False, risk: str = "", rule: str = "") -> Reason:
    """The text for a refused attempt.

    `code` and `decline_code` are the provider's; `blocked` says that a risk check stopped it before the bank was
    asked, `risk` why, and `rule` names the rule that did.
    """
    if blocked:
        for part, key in _RULES:
            if part in rule:
                return _BY_KEY[key]
        return _BY_KEY["low_authorisation_rate" if risk == "low_probability_of_authorization" else "blocked"]
    for given in (decline_code, code):
        if given in SILENT:
            return _BY_KEY["declined"]
        if given in _CODES:
            return _BY_KEY[_CODES[given]]
    return _BY_KEY["declined"]
