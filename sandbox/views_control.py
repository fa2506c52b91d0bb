"""The control page and its JSON API: what happened, how events travel, and how to misbehave on purpose."""

import json
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config import clock
from sandbox import checkout, dashboard, delivery, store, switches, tasks, views_disputes, views_subscriptions
from sandbox.cards import SUCCESS
from sandbox.errors import ApiError
from sandbox.models import Delivery, Event, Fault, RequestLog, StoredObject
from sandbox.resources import refunds
from sandbox.store import Moment
from sandbox.views import amount_text

SHOWN = 25


@require_GET
def control_page(request: HttpRequest) -> HttpResponse:
    events = Event.objects.order_by("-pk").prefetch_related(Prefetch("deliveries", Delivery.objects.order_by("pk")))
    context = {
        "switches": switches.current(),
        "faults": Fault.objects.order_by("pk"),
        "disturbances": [
            ("lost", _("Lost")),
            ("duplicate", _("Sent several times")),
            ("delayed", _("Delayed")),
            ("reordered", _("Out of order")),
        ],
        "refund_choices": [
            ("succeed", _("Succeed")),
            ("pending", _("Stay pending")),
            ("requires_action", _("Wait for the customer")),
            ("fail", _("Fail")),
        ],
        "wallet_choices": [("at_once", _("At once")), ("delayed", _("After a while")), ("away", _("Not available"))],
        "challenge_choices": [("card", _("As the test card says")), ("always", _("Always")), ("never", _("Never"))],
        "sessions": [_row(row) for row in _latest("checkout.session")],
        "refunds": [_row(row) for row in _latest("refund")],
        "refundable": [_row(row) for row in dashboard.refundable()],
        "unsettled": [
            _row(row)
            for row in StoredObject.objects.filter(kind="payment_intent", data__status="processing").order_by("-pk")[
                :SHOWN
            ]
        ],
        **views_disputes.shown(SHOWN),
        **views_subscriptions.shown(SHOWN),
        "events": events[:SHOWN],
        "waiting": Delivery.objects.filter(state__in=[Delivery.State.PENDING, Delivery.State.SENDING]).count(),
        "requests": RequestLog.objects.order_by("-pk")[:SHOWN],
        "webhook_url": settings.SANDBOX_WEBHOOK_URL,
        "now": clock.now(),
        "offset": clock.offset(),
    }
    return render(request, "sandbox/control.html", context)


def _latest(kind: str) -> list[StoredObject]:
    return list(StoredObject.objects.filter(kind=kind).order_by("-pk")[:SHOWN])


def _row(row: StoredObject) -> dict[str, Any]:
    amount = row.data.get("amount_total", row.data.get("amount", 0))
    return {**row.data, "created": row.created, "amount": amount_text(amount, row.data["currency"])}


@require_GET
def event_page(request: HttpRequest, event_id: str) -> HttpResponse:
    event = get_object_or_404(Event.objects.prefetch_related("deliveries"), event_id=event_id)
    body = json.dumps(event.body, indent=2, ensure_ascii=False)
    return render(request, "sandbox/event.html", {"event": event, "body": body})


@require_POST
def set_switches(request: HttpRequest) -> HttpResponse:
    """The control page's form; the JSON API beside it takes the same names."""
    posted = request.POST
    if "reset" in posted:
        switches.reset()
        messages.success(request, _("All switches are back at normal."))
        return _to_control()
    values: dict[str, Any] = {
        "hold": "hold" in posted,
        "disturb": posted.getlist("disturb"),
        "refunds": posted.get("refunds", "succeed"),
        "wallets": posted.get("wallets", "at_once"),
        "three_d_secure": posted.get("three_d_secure", "card"),
    }
    try:
        for name in ("percent", "seed", "duplicates", "delay_seconds", "reorder_seconds", "settle_seconds"):
            if name in posted:
                values[name] = int(posted[name])
        switches.set_switches(**values)
        if posted.get("fault_path"):
            status = int(posted["fault_status"]) if posted.get("fault_status") else None
            times = int(posted.get("fault_times") or 1)
            switches.add_fault(posted.get("fault_kind", "fail"), posted["fault_path"], times=times, status=status)
    except ValueError as wrong:
        messages.error(request, str(wrong))
    else:
        messages.success(request, _("The switches are set."))
    return _to_control()


@require_POST
def release(request: HttpRequest) -> HttpResponse:
    """Send everything that waits, held or delayed, now."""
    now = clock.now()
    delivery.release(now)
    sent = delivery.deliver_pending(now)
    messages.success(request, _("Sent: %(count)s") % {"count": sent})
    return _to_control()


@require_POST
def send_again(request: HttpRequest, event_id: str) -> HttpResponse:
    event = get_object_or_404(Event, event_id=event_id)
    delivery.send_again(event, clock.now())
    tasks.wake_after_commit(0)
    messages.success(request, _("The event will be sent again."))
    return _to_control()


@require_POST
def settle(request: HttpRequest, object_id: str) -> HttpResponse:
    """End a payment or a refund that waits, with the outcome that the form chose."""
    kind = "refund" if object_id.startswith("re_") else "payment_intent"
    outcome, moment = request.POST.get("outcome", "succeeded"), Moment(clock.now())
    try:
        with transaction.atomic():
            row = store.get(kind, object_id, lock=True)
            if kind == "refund":
                refunds.settle(row, outcome, moment)
            elif row.data["status"] == "processing":
                checkout.settle(row, SUCCESS if outcome == "succeeded" else checkout.PROVIDER_DECLINE, moment)
    except ApiError as refusal:
        if refusal.status == 404:
            raise Http404(str(refusal)) from refusal
        messages.error(request, str(refusal))
    return _to_control()


@require_POST
def refund_in_dashboard(request: HttpRequest, payment_intent: str) -> HttpResponse:
    """Refund a payment as somebody would in the provider's dashboard: all that is left, or an amount of cents."""
    text = request.POST.get("amount", "").strip()
    try:
        amount = int(text) if text else None
        if amount is not None and amount <= 0:
            raise ValueError(text)
        made = dashboard.refund(payment_intent, amount, clock.now())
    except ValueError:
        messages.error(request, _("Write the amount in the smallest unit of the currency, for instance 500."))
    except ApiError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("Refunded: %(refund)s") % {"refund": made["id"]})
    return _to_control()


@require_POST
def set_clock(request: HttpRequest) -> HttpResponse:
    """Move the clock of this installation, for every process; the empty string sets it right again."""
    text = request.POST.get("offset", "").strip()
    try:
        clock.parse_offset(text)
    except ValueError as wrong:
        messages.error(request, str(wrong))
    else:
        clock.offset_file().parent.mkdir(parents=True, exist_ok=True)
        clock.offset_file().write_text(text)
        messages.success(request, _("The clock is moved; every process follows within a second."))
    return _to_control()


def _to_control() -> HttpResponse:
    return HttpResponseRedirect(reverse("sandbox:control"))


# --- JSON ---------------------------------------------------------------------------------------------------------
# Cookies play no part here, and a browser cannot send application/json to another origin without asking first.


def _json_body(request: HttpRequest) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise ValueError("Send Content-Type: application/json.")
    body = json.loads(request.body or b"{}")
    if not isinstance(body, dict):
        raise ValueError("Send a JSON object.")
    return body


def _refused(wrong: Exception) -> HttpResponse:
    return JsonResponse({"error": str(wrong)}, status=400)


@csrf_exempt
@require_http_methods(["GET", "POST", "DELETE"])
def switches_api(request: HttpRequest) -> HttpResponse:
    """GET the switches, POST the ones to change, DELETE to behave well again."""
    try:
        if request.method == "POST":
            switches.set_switches(**_json_body(request))
        elif request.method == "DELETE":
            switches.reset()
    except ValueError as wrong:
        return _refused(wrong)
    return JsonResponse(switches.as_json())


@csrf_exempt
@require_http_methods(["POST", "DELETE"])
def faults_api(request: HttpRequest) -> HttpResponse:
    """POST `{"kind": "lose", "path_regex": "^/v1/refunds$", "times": 1}`; DELETE forgets the faults that wait."""
    try:
        if request.method == "POST":
            body = _json_body(request)
            switches.add_fault(
                str(body.get("kind")),
                str(body.get("path_regex")),
                times=int(body.get("times", 1)),
                status=body.get("status"),
            )
        else:
            Fault.objects.all().delete()
    except (ValueError, TypeError) as wrong:
        return _refused(wrong)
    return JsonResponse(switches.as_json())
