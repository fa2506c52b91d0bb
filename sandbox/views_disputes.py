"""Disputes and early fraud warnings on the control page and in its JSON API."""

import json
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from config import clock
from sandbox import store
from sandbox.errors import ApiError
from sandbox.models import StoredObject
from sandbox.resources import disputes, early_fraud_warnings
from sandbox.store import Moment
from sandbox.views import amount_text


def shown(limit: int) -> dict[str, list[dict[str, Any]]]:
    """What the control page lists: the newest card payments, disputes and warnings."""
    charges = StoredObject.objects.filter(kind="charge", data__status="succeeded").order_by("-pk")[:limit]
    rows = StoredObject.objects.filter(kind="dispute").order_by("-pk")[:limit]
    warnings = StoredObject.objects.filter(kind=early_fraud_warnings.KIND).order_by("-pk")[:limit]
    cards = [one for one in charges if one.data["payment_method_details"]["type"] == "card"]
    return {
        "charges": [_row(one) for one in cards],
        "disputes": [{**_row(one), "choices": _choices(one.data["status"])} for one in rows],
        "fraud_warnings": [one.data for one in warnings],
    }


def _row(row: StoredObject) -> dict[str, Any]:
    return {**row.data, "amount": amount_text(row.data["amount"], row.data["currency"])}


def _choices(status: str) -> list[str]:
    if status in disputes.ENDINGS:
        return []
    if status.startswith("warning_"):
        answer = ["submit"] if status == "warning_needs_response" else []
        return [*answer, "escalate", "warning_closed", "prevented"]
    return [*(["submit"] if status == "needs_response" else []), "won", "lost", "prevented"]


def do(object_id: str, action: str, moment: Moment) -> StoredObject:
    """On a charge: dispute, inquiry, fraud_warning. On a dispute: submit, escalate, or how it ends."""
    with transaction.atomic():
        if object_id.startswith("dp_"):
            row = store.get("dispute", object_id, lock=True)
            disputes.act(row, action, moment)
            return row
        charge = store.get("charge", object_id, lock=True)
        if action == "dispute":
            return disputes.open_dispute(charge, moment)
        if action == "inquiry":
            return disputes.open_dispute(charge, moment, inquiry=True, reason="general")
        if action == "fraud_warning":
            return early_fraud_warnings.warn(charge, moment)
        raise ApiError(f"There is no action {action[:40]!r}.", param="action")


@require_POST
def act(request: HttpRequest, object_id: str) -> HttpResponse:
    """A button of the control page."""
    try:
        do(object_id, request.POST.get("action", ""), Moment(clock.now()))
    except ApiError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("sandbox:control"))


@csrf_exempt
@require_POST
def act_api(request: HttpRequest) -> HttpResponse:
    """POST `{"id": "ch_…", "action": "dispute"}`; the answer is the dispute or the warning."""
    try:
        if request.content_type != "application/json":
            raise ValueError("Send Content-Type: application/json.")
        body = json.loads(request.body or b"{}")
        row = do(str(body["id"]), str(body["action"]), Moment(clock.now()))
    except (ApiError, KeyError, TypeError, ValueError) as wrong:
        return JsonResponse({"error": str(wrong)}, status=400)
    return JsonResponse(row.data)
