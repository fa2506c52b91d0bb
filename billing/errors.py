"""Refusals with a code that never changes (03-http-api 3.2). Pure: no database, no request.

`config/problems.py` renders one as `application/problem+json`; pages show `str(error)`. The sentence is put together
only when it is shown, so that it follows the reader's language and not that of the process which refused.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

type_of: dict[str, type[BillingError]] = {}  # code -> class, for documents and tests

Text = str | Promise


class BillingError(Exception):
    """A refusal. `evidence` is safe to show: never a key, a prompt or card data."""

    code: ClassVar[str] = "billing_error"
    status: ClassVar[int] = HTTPStatus.UNPROCESSABLE_ENTITY
    title: ClassVar[Text] = _("The request was refused.")

    def __init__(self, detail: Text = "", **evidence: Any) -> None:
        """`detail` may name evidence: `%(field)s`. Without it the title says all."""
        super().__init__(self.code)
        self.template = detail
        self.evidence = evidence

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            if cls.code in type_of:
                raise TypeError(f"two errors with the code {cls.code}")
            type_of[cls.code] = cls

    def __reduce__(self) -> tuple[Callable[..., BillingError], tuple[Any, ...]]:
        return _rebuilt, (type(self), str(self.template), self.evidence)

    @property
    def detail(self) -> str:
        template = str(self.template)
        if not template:
            return str(self.title)
        try:
            return template % self.evidence if self.evidence else template
        except (KeyError, TypeError, ValueError):
            return template

    @property
    def members(self) -> dict[str, Any]:
        """The code's own members of the problem document."""
        return dict(self.evidence)

    def __str__(self) -> str:
        return self.detail


def _rebuilt(cls: type[BillingError], detail: str, evidence: dict[str, Any]) -> BillingError:
    return cls(detail, **evidence)


class Denial(BillingError):
    """A call that was not admitted. Its evidence carries the decision receipt:
    limit_source, needed, available, resets_at, gates."""

    status: ClassVar[int] = HTTPStatus.PAYMENT_REQUIRED

    @property
    def limit_source(self) -> str:
        return str(self.evidence.get("limit_source") or self.code)

    @property
    def members(self) -> dict[str, Any]:
        receipt: dict[str, Any] = {"needed": None, "available": None, "resets_at": None, "gates": []}
        return {"limit_source": self.limit_source} | receipt | self.evidence


# --- 400, 401, 404 -------------------------------------------------------------------------------------------------


class BadRequest(BillingError):
    code = "bad_request"
    status = HTTPStatus.BAD_REQUEST
    title = _("The request could not be read.")


class IdempotencyKeyRequired(BillingError):
    code = "idempotency_key_required"
    status = HTTPStatus.BAD_REQUEST
    title = _("Send an Idempotency-Key header with requests that move money.")


class BodyTooLarge(BillingError):
    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = _("The request body is too large.")


class InvalidCredential(BillingError):
    code = "invalid_credential"
    status = HTTPStatus.UNAUTHORIZED
    title = _("The credential is not valid.")


class PermissionDenied(BillingError):
    code = "permission_denied"
    status = HTTPStatus.FORBIDDEN
    title = _("Your role does not allow this.")


class NotFound(BillingError):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = _("There is no such thing here.")


# --- 402: money, or a quota of money (C04) ---------------------------------------------------------------------------


class InsufficientBalance(Denial):
    code = "insufficient_balance"
    title = _("The balance does not cover this request.")


class GroupQuotaExceeded(Denial):
    code = "group_quota_exceeded"
    title = _("The quota of this key's group is used up.")


class KeyLimitExceeded(Denial):
    code = "key_limit_exceeded"
    title = _("The spending limit of this API key is used up.")


class PromoExpired(Denial):
    code = "promo_expired"
    title = _("Promotional credit that would have covered this request has expired.")


class TaskCostExceedsBalance(Denial):
    code = "task_cost_exceeds_balance"
    title = _("This task costs more than the balance.")


class ExtraUsageCap(Denial):
    code = "extra_usage_cap"
    title = _("The monthly cap of Extra Usage is reached.")


# --- 403: not allowed ------------------------------------------------------------------------------------------------


class ModelNotPermitted(Denial):
    code = "model_not_permitted"
    status = HTTPStatus.FORBIDDEN
    title = _("This key may not call this model.")


class KeyDisabled(Denial):
    code = "key_disabled"
    status = HTTPStatus.FORBIDDEN
    title = _("This API key is disabled.")


class KeyExpired(Denial):
    code = "key_expired"
    status = HTTPStatus.FORBIDDEN
    title = _("This API key has expired.")


class IpNotAllowed(Denial):
    code = "ip_not_allowed"
    status = HTTPStatus.FORBIDDEN
    title = _("This address is not on the allow-list.")


class PlanRequired(Denial):
    code = "plan_required"
    status = HTTPStatus.FORBIDDEN
    title = _("This model needs a subscription plan that includes it.")


class RefundPending(Denial):
    code = "refund_pending"
    status = HTTPStatus.FORBIDDEN
    title = _("The plan is being refunded. It admits no calls until that is decided.")


class AccountSuspended(Denial):
    code = "account_suspended"
    status = HTTPStatus.FORBIDDEN
    title = _("This account is suspended.")


class RiskBlocked(Denial):
    code = "risk_blocked"
    status = HTTPStatus.FORBIDDEN
    title = _("This request was held by a risk rule.")


class ModelUnpriced(Denial):
    code = "model_unpriced"
    status = HTTPStatus.FORBIDDEN
    title = _("This model has no price yet and cannot be called.")


# --- 409 -------------------------------------------------------------------------------------------------------------


class Conflict(BillingError):
    code = "conflict"
    status = HTTPStatus.CONFLICT
    title = _("This does not fit the present state.")


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"
    title = _("This id was used before with other contents.")


class AlreadyCaptured(Conflict):
    code = "already_captured"
    title = _("This authorization was captured with other usage.")


class AlreadyVoided(Conflict):
    code = "already_voided"
    title = _("This authorization was voided.")


class InvalidTransition(Conflict):
    code = "invalid_transition"
    title = _("This step is not possible from the present status.")


class SecondPersonNeeded(Conflict):
    code = "second_person_needed"
    title = _("A second person decides: not the one who proposed it.")


# --- 422 -------------------------------------------------------------------------------------------------------------


class InvalidRequest(BillingError):
    code = "invalid_request"
    title = _("A value in the request is not valid.")


class InvalidUsage(BillingError):
    code = "invalid_usage"
    title = _("The usage is not valid.")


class NotRecorded(BillingError):
    code = "not_recorded"
    title = _("The books cannot hold this; nothing was written.")


class UnknownModel(BillingError):
    code = "unknown_model"
    title = _("There is no such model.")


class UnknownChannel(BillingError):
    code = "unknown_channel"
    title = _("There is no such channel.")


class InvalidPrice(BillingError):
    code = "invalid_price"
    title = _("The price is not valid.")


class InvalidCatalog(BillingError):
    code = "invalid_catalog"
    title = _("The catalogue file is not valid.")


# --- 429: time (C04) -------------------------------------------------------------------------------------------------


class RateDenial(Denial):
    """Refused for now: `resets_at` says until when, and edges add `Retry-After`."""

    status: ClassVar[int] = HTTPStatus.TOO_MANY_REQUESTS


class RpmExceeded(RateDenial):
    code = "rpm_exceeded"
    title = _("Too many requests in this minute.")


class TpmExceeded(RateDenial):
    code = "tpm_exceeded"
    title = _("Too many tokens in this minute.")


class Flow5hExhausted(RateDenial):
    code = "flow_5h_exhausted"
    title = _("The five-hour Flow window is used up.")


class FlowWeekExhausted(RateDenial):
    code = "flow_week_exhausted"
    title = _("The weekly Flow window is used up.")


class FlowPeriodExhausted(RateDenial):
    code = "flow_period_exhausted"
    title = _("The Flows of this billing period are used up.")


class CheckedJustNow(BillingError):
    code = "checked_just_now"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = _("The payment provider was asked a moment ago. Please wait a few seconds.")


# --- Vouchers: what happened to a code, never to whom ----------------------------------------------------------------


class VoucherMistyped(BillingError):
    """The text cannot be a code of ours. Found without asking the database."""

    code = "voucher_mistyped"
    title = _("This is not a voucher code as it stands: check what you typed.")
    details: ClassVar[dict[str, Text]] = {
        "length": _("A voucher code has %(expected)s letters and digits; this has %(typed)s. Check what you typed."),
        "character": _("“%(character)s” does not occur in a voucher code. Check what you typed."),
        "check": _("At least one character is wrong or two have changed places. Check what you typed."),
    }

    def __init__(self, detail: Text = "", **evidence: Any) -> None:
        super().__init__(detail or self.details.get(str(evidence.get("reason")), ""), **evidence)


class VoucherUnknown(BillingError):
    code = "voucher_unknown"
    status = HTTPStatus.NOT_FOUND
    title = _("There is no voucher with this code.")


class VoucherUsed(Conflict):
    code = "voucher_used"
    title = _("This voucher has already been redeemed.")


class VoucherNotYetValid(Conflict):
    code = "voucher_not_yet_valid"
    title = _("This voucher cannot be redeemed yet.")


class VoucherExpired(Conflict):
    code = "voucher_expired"
    title = _("The time in which this voucher could be redeemed is over.")


class VoucherPaused(Conflict):
    code = "voucher_paused"
    title = _("This voucher cannot be redeemed at present. Try again later.")


class VoucherEnded(Conflict):
    code = "voucher_ended"
    title = _("The promotion of this voucher has ended.")


class VoucherLimitReached(Conflict):
    code = "voucher_limit_reached"
    title = _("This account has redeemed as many vouchers of this promotion as one account may.")


class VoucherExhausted(Conflict):
    code = "voucher_exhausted"
    title = _("All vouchers of this promotion have been redeemed.")


class VoucherThrottled(BillingError):
    code = "voucher_throttled"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = _("Too many codes that were not right. Wait a while, then try again.")


# --- 5xx -------------------------------------------------------------------------------------------------------------


class ServiceUnavailable(BillingError):
    code = "service_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = _("Please try again in a moment.")
