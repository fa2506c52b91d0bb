"""Giving a card on the hosted page."""

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from config import clock
from sandbox import cards, setup, setup_page, store
from sandbox.errors import SessionClosed
from sandbox.models import StoredObject
from sandbox.store import Moment
from sandbox.views import _back, _fresh, _page


@require_POST
@_page
def save_card(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """Keep the card. A success leads back to the merchant, a refusal stays here with its message."""
    if session.data["mode"] != "setup":
        raise Http404("Nothing is kept on this page.")
    now = clock.now()
    form = setup_page.SetupForm(request.POST, year_now=now.year, month_now=now.month)
    if not form.is_valid():
        return setup_page.shown(request, session, form=form, status=422)
    data = form.cleaned_data
    month, year = data["expiry"]
    try:
        with transaction.atomic():
            outcome = setup.save_card(
                store.get("checkout.session", session.object_id, lock=True),
                cards.lookup(data["number"]),
                confirmed=data["confirmed"] != "no",
                month=month,
                year=year,
                email=data["email"],
                name=data["name"],
                moment=Moment(now),
            )
    except SessionClosed:
        return setup_page.shown(request, _fresh(session), status=409)
    if not outcome.succeeds:
        return setup_page.shown(request, _fresh(session), form=form, declined=outcome.message, status=402)
    return _back(session)
