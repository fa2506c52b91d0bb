"""Subscriptions on the control page and in its JSON API."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from config import clock
from sandbox import dashboard_subscriptions, standing, store
from sandbox.errors import ApiError
from sandbox.models import StoredObject
from sandbox.views import amount_text


def shown(limit: int) -> dict[str, list[dict[str, Any]]]:
    """What the control page lists: the newest subscriptions, with what can be done to each."""
    rows = StoredObject.objects.filter(kind="subscription").order_by("-pk")[:limit]
    return {"subscriptions": [_row(row) for row in rows]}


def _row(row: StoredObject) -> dict[str, Any]:
    data, card = row.data, standing.default_card(row)
    item = data["items"]["data"][0]
    price = item["price"]
    return {
        "id": row.object_id,
        "status": data["status"],
        "waits": data["pending_update"] is not None,
        "ends": data["cancel_at_period_end"],
        "price": price["lookup_key"] or price["id"],
        "amount": amount_text(price["unit_amount"] * item["quantity"], price["currency"]),
        "period_end": store.from_seconds(standing.period_end(row)),
        "card": card.data["card"] if card else None,
        "runs": data["status"] in standing.RUNNING,
        "fails": "own_card" in row.private,
    }


@require_POST
def act(request: HttpRequest, object_id: str) -> HttpResponse:
    """A button of the control page."""
    try:
        dashboard_subscriptions.act(object_id, request.POST.get("action", ""), clock.now())
    except ApiError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("Done: %(subscription)s") % {"subscription": object_id})
    return HttpResponseRedirect(reverse("sandbox:control"))


@csrf_exempt
@require_POST
def act_api(request: HttpRequest) -> HttpResponse:
    """POST `{"id": "sub_…", "action": "renew"}`; the answer is the subscription."""
    try:
        if request.content_type != "application/json":
            raise ValueError("Send Content-Type: application/json.")
        body = json.loads(request.body or b"{}")
        row = dashboard_subscriptions.act(str(body["id"]), str(body["action"]), clock.now())
    except (ApiError, KeyError, TypeError, ValueError) as wrong:
        return JsonResponse({"error": str(wrong)}, status=400)
    return JsonResponse(row.data)
