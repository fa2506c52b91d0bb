"""Refusals of refunds, each with a code that never changes."""

from __future__ import annotations

from http import HTTPStatus

from django.utils.translation import gettext_lazy as _

from billing.errors import Conflict


class NotRefundable(Conflict):
    """This cannot be refunded, or not as much; `reason` in the evidence is stable, the sentence says the rest."""

    code = "not_refundable"
    status = HTTPStatus.CONFLICT
    title = _("This payment cannot be refunded.")


class RefundNotConfirmed(Conflict):
    """A company's finance has not said yet that the original payment method is right (F022, 02-domain 2.8)."""

    code = "refund_not_confirmed"
    status = HTTPStatus.CONFLICT
    title = _("The company's finance has not confirmed the original payment method yet.")


class DecidedOnPlanRefund(Conflict):
    """One payment of a plan goes back with the whole of it, or not at all."""

    code = "decided_on_plan_refund"
    status = HTTPStatus.CONFLICT
    title = _("This is a part of a plan's refund and is decided there.")


class CreditNotDue(Conflict):
    """No credit stands for this refund: its money did not come back from a bank, or takes another way already."""

    code = "credit_not_due"
    status = HTTPStatus.CONFLICT
    title = _("No credit is due for this refund.")
