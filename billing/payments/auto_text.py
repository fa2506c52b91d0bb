"""What auto top-up will do, in words: shown before it is turned on, and kept as the consent."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.payments.auto_rules import Terms
from billing.payments.models_saved import PaymentMethod
from config.templatetags.ui import usd_text

VERSION: Final = "2026-11"


def save_card() -> str:
    """What the owner of a card agrees to when it is kept."""
    return _(
        "%(site)s may keep this card at the payment provider and charge it while I am not there, only as I set up in "
        "auto top-up. I can remove the card at any time."
    ) % {"site": settings.SITE_NAME}


def what_happens(terms: Terms, card: PaymentMethod) -> list[str]:
    """Sentence by sentence."""
    words = {
        "threshold": usd_text(terms.threshold),
        "amount": usd_text(terms.amount),
        "card": card.name,
        "daily": usd_text(terms.daily_usd),
        "monthly": usd_text(terms.monthly_usd),
        "count": terms.daily_count,
    }
    return [
        _("When the balance falls below %(threshold)s, we charge %(amount)s to %(card)s, without asking again.")
        % words,
        _("If more is missing, one charge of a multiple of %(amount)s brings the balance to %(threshold)s or above.")
        % words,
        ngettext(
            "We charge at most %(count)s time and %(daily)s a day, and %(monthly)s a month (days and months in UTC).",
            "We charge at most %(count)s times and %(daily)s a day, and %(monthly)s a month (days and months in UTC).",
            terms.daily_count,
        )
        % words,
        _("If a charge fails, auto top-up stops and we write to you. You can turn it off at any time."),
    ]


def consent(terms: Terms, card: PaymentMethod) -> str:
    """The same as one text, in the language of the moment."""
    return "\n".join(what_happens(terms, card))
