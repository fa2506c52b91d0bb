"""The hosted page on which a card is given to be kept."""

from urllib.parse import quote

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config import clock
from sandbox import cards
from sandbox.forms import CardForm
from sandbox.models import StoredObject

DEMO_EXPIRY, DEMO_CVC = "12/34", "123"


class SetupForm(CardForm):
    """The card form, with what its owner answers when the bank asks."""

    outcome = None  # type: ignore[assignment]  # a form's way to leave a field out
    confirmed = forms.ChoiceField(
        label=gettext_lazy("If the bank asks to confirm (sandbox only)"),
        required=False,
        choices=[("yes", gettext_lazy("Confirm")), ("no", gettext_lazy("Refuse"))],
    )


def shown(
    request: HttpRequest, session: StoredObject, *, form: SetupForm | None = None, declined: str = "", status: int = 200
) -> HttpResponse:
    """The page as it is now."""
    now, data = clock.now(), session.data
    if form is None:
        email = (data["customer_details"] or {}).get("email") or ""
        number = "".join(digit for digit in request.GET.get("card", "") if digit.isdigit())[:19]
        first = {"email": email, "number": number, "expiry": DEMO_EXPIRY, "cvc": DEMO_CVC, "confirmed": "yes"}
        form = SetupForm(initial=first, year_now=now.year, month_now=now.month)
    context = {
        "session": data,
        "form": form,
        "declined": declined,
        "decline_text": _(declined) if declined else "",
        "test_cards": cards.CARDS,
        "return_url": str(data["success_url"]).replace("{CHECKOUT_SESSION_ID}", quote(session.object_id)),
        "merchant": settings.SITE_NAME,
    }
    return render(request, "sandbox/setup.html", context, status=status)
