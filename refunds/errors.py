"""Refusals of refunds, each with a code that never changes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.utils.translation import gettext_lazy as _

from billing.errors import Conflict


class NotRefundable(Conflict):
    """This cannot be refunded, or not as much; `reason` in the evidence is stable, the sentence says the rest."""

    code = "not_refundable"
    status = HTTPStatus.CONFLICT
    title = _("This payment cannot be refunded.")

    @classmethod
    def of(cls, found: Sequence[NotRefundable]) -> NotRefundable:
        """One refusal that says all that is against it; the sentence is the first one's."""
        if len(found) == 1:
            return found[0]
        every = [{"code": one["code"], "text": one["text"], **one["evidence"]} for why in found for one in why.reasons]
        return cls(_literal(found[0].detail), reason=every[0]["code"], reasons=every)

    @property
    def reasons(self) -> list[dict[str, Any]]:
        """Each reason as `code`, which never changes, `text` in the reader's language, and `evidence`."""
        own = {name: value for name, value in self.evidence.items() if name not in ("reason", "reasons")}
        told = self.evidence.get("reasons")
        if told is None:
            return [{"code": str(self.evidence["reason"]), "text": self.detail, "evidence": own}]
        return [
            {
                "code": one["code"],
                "text": one["text"],
                "evidence": {name: value for name, value in one.items() if name not in ("code", "text")},
            }
            for one in told
        ]


def _literal(text: str) -> str:
    """A sentence that names no evidence."""
    return text.replace("%", "%%")


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
