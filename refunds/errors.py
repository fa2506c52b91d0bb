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
