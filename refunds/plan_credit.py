"""A bank returned the money after the plan had ended: nothing of ours brings the plan back, so it is given as credit
(decision 0033), by the door of all credit that staff give, with its second person."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import proposals
from billing.books.models import CreditGrant, CreditProposal
from billing.errors import InvalidRequest, SecondPersonNeeded
from billing.money import USD, from_minor_units
from refunds import plan_lifecycle
from refunds.errors import CreditNotDue
from refunds.models import Refund
from refunds.models_plan import PlanRefund

REJECTED: Final = CreditProposal.State.REJECTED


def give(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> CreditGrant | CreditProposal:
    """Give what the bank returned as credit, once for ever, or propose it where it is above the limit.

    Again, and by whomever: the same credit, or the proposal that waits. After a rejected one it may be asked for again.
    Raises CreditNotDue, and SecondPersonNeeded to the person whose plan it was.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        refund = plan_lifecycle.locked(refund_id)
        known = found(refund)
        if known is not None:
            return known
        if actor.pk == refund.requested_by_id:
            raise SecondPersonNeeded(refund=refund.number)
        done = proposals.give_or_propose(
            refund.account_id,
            from_minor_units(due_minor(refund), USD),
            actor=actor,
            reason=f"{refund.number}: {reason.strip()}",
            key=_key(refund),
            now=now,
        )
        proposed = isinstance(done, CreditProposal)
        setattr(refund, "credit_proposal" if proposed else "credit_grant", done)
        refund.save(update_fields=["credit_proposal", "credit_grant"])
        audit.record(
            actor=actor,
            action="plan_refund_credit_proposed" if proposed else "plan_refund_credited",
            subject=refund,
            now=now,
            reason=reason.strip(),
            after={"amount": str(done.amount), "proposal" if proposed else "grant": str(done.pk)},
        )
    return done


def found(refund: PlanRefund) -> CreditGrant | CreditProposal | None:
    """The credit that was given, or the proposal that waits for a second person; None after a rejected one."""
    proposal = refund.credit_proposal
    if refund.credit_grant is not None or proposal is None:
        return refund.credit_grant
    return None if proposal.state == REJECTED else proposal.grant or proposal


def due_minor(refund: PlanRefund) -> int:
    """Cents that a bank returned and that took no other way since. Exact under the wallet's lock only.

    Raises CreditNotDue. What a bank returns of a second payment after the credit was given is not in it.
    """
    if not refund.returned:
        raise CreditNotDue(
            _("Only money that a bank returned after the refund had succeeded is given as credit."),
            reason="not_returned",
            status=str(refund.status),
        )
    parts = list(
        Refund.objects.filter(plan_refund=refund, status=Refund.Status.FAILED, succeeded_at__isnull=False)
        .select_related("invoice")
        .order_by("pk")
    )
    if any(part.invoice is not None and part.invoice.disputed_minor for part in parts):
        raise CreditNotDue(
            _("A bank disputes the payment: the money goes back through the dispute, or is still to be decided."),
            reason="disputed",
        )
    returned = sum(part.sent_minor for part in parts)
    since = min((part.status_at for part in parts), default=refund.status_at)
    other_ways = Refund.objects.live().filter(
        invoice__in=[part.invoice_id for part in parts], plan_refund=None, created_at__gte=since
    )
    due = returned - (other_ways.aggregate(total=Sum("sent_minor"))["total"] or 0)
    if due <= 0:
        raise CreditNotDue(_("The money went back another way since."), reason="went_another_way")
    return due


def _key(refund: PlanRefund) -> str:
    """The intent, for ever; after a rejected proposal it is another one."""
    after = f":after:{refund.credit_proposal_id}" if refund.credit_proposal_id is not None else ""
    return f"manual:plan_refund:{refund.pk}{after}"
