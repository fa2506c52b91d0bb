"""/v1/checkout/sessions: the API's side. What the customer does on the hosted page is in `sandbox.checkout`."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from sandbox import checkout, expand, payments, store, subscribing
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import (
    LIST,
    Array,
    Boolean,
    Currency,
    Email,
    Integer,
    Metadata,
    Object,
    Text,
    TimeRange,
)
from sandbox.resources import line_items, setup_sessions
from sandbox.routes import Call, endpoint

METHODS = ("card", "alipay", "wechat_pay")
RECURRING = ("card",)
CURRENCIES = {
    "alipay": {"aud", "cad", "cny", "eur", "gbp", "hkd", "jpy", "myr", "nzd", "sgd", "usd"},
    "wechat_pay": {"aud", "cad", "chf", "cny", "dkk", "eur", "gbp", "hkd", "jpy", "nok", "sek", "sgd", "usd"},
}
OPEN_FOR = timedelta(hours=24)
expand.REFERENCES["checkout.session"] = {"customer", "invoice", "payment_intent", "setup_intent", "subscription"}

FUTURE = Text(choices=("off_session", "on_session"))
CREATE: dict[str, Any] = {
    "allow_promotion_codes": Boolean(),
    "allowed_payment_method_types": Array(Text(choices=METHODS)),
    "billing_address_collection": Text(choices=("auto", "required")),
    "cancel_url": Text(),
    "client_reference_id": Text(max_length=200),
    "currency": Currency(),
    "customer": Text(),
    "customer_creation": Text(choices=("always", "if_required")),
    "customer_email": Email(),
    "excluded_payment_method_types": Array(Text(choices=METHODS)),
    "expires_at": Integer(),
    "line_items": Array(line_items.ITEM),
    "locale": Text(choices=("auto", "en", "en-GB", "zh", "zh-HK", "zh-TW")),
    "metadata": Metadata(),
    "mode": Text(choices=("payment", "setup", "subscription")),
    "payment_intent_data": Object(
        {
            "description": Text(max_length=1000),
            "metadata": Metadata(),
            "receipt_email": Email(),
            "setup_future_usage": FUTURE,
            "statement_descriptor": Text(max_length=22),
            "statement_descriptor_suffix": Text(max_length=22),
        }
    ),
    "payment_method_options": Object(
        {
            "alipay": Object({"setup_future_usage": Text(choices=("none",))}),
            "card": Object(
                {
                    "request_three_d_secure": Text(choices=("any", "automatic", "challenge")),
                    "setup_future_usage": FUTURE,
                }
            ),
            "wechat_pay": Object(
                {
                    "app_id": Text(),
                    "client!": Text(choices=("android", "ios", "web")),
                    "setup_future_usage": Text(choices=("none",)),
                }
            ),
        }
    ),
    "setup_intent_data": setup_sessions.SETUP_INTENT_DATA,
    "saved_payment_method_options": Object({"payment_method_save": Text(choices=("disabled", "enabled"))}),
    "subscription_data": Object({"description": Text(max_length=500), "metadata": Metadata()}),
    "submit_type": Text(choices=("auto", "book", "donate", "pay", "subscribe")),
    "success_url": Text(),
    "ui_mode": Text(choices=("hosted_page",)),
}


@endpoint("POST", "/v1/checkout/sessions", CREATE)
def create(call: Call) -> Json:
    """Open a hosted page for one payment, or for a subscription and its first.

    The payment intent is made when the customer first tries to pay.
    """
    params = call.params
    if params.get("mode") == "setup":
        return setup_sessions.create(call, _build, _expiry)
    _check(params)
    customer = store.get("customer", params["customer"], param="customer") if "customer" in params else None
    items = line_items.build_all(params["line_items"], call)
    total = sum(item["amount_total"] for item in items)
    currency = items[0]["currency"]
    _check_prices(params["mode"], items)
    _check_amount(total, currency)
    types = _types(params, currency)
    expires_at = _expiry(params, call)
    row = store.create(
        "checkout.session",
        _build(params, customer=customer, currency=currency, total=total, types=types, expires_at=expires_at),
        now=call.now,
        private={
            "line_items": items,
            "payment_intent_data": params.get("payment_intent_data", {}),
            "subscription_data": params.get("subscription_data", {}),
        },
        due_at=store.from_seconds(expires_at),
    )
    store.change(row, url=f"{settings.PUBLIC_URL}/sandbox/checkout/{row.object_id}")
    return row.data


def _check(params: Json) -> None:
    if "mode" not in params:
        raise missing("mode")
    for name, mode in (("payment_intent_data", "payment"), ("subscription_data", "subscription")):
        if name in params and params["mode"] != mode:
            raise ApiError(f"You can not pass `{name}` in `{params['mode']}` mode.", param=name)
    for name in ("success_url", "line_items"):
        if not params.get(name):
            raise missing(name)
    for name in ("success_url", "cancel_url"):
        if name in params and not params[name].startswith(("http://", "https://")):
            raise ApiError("Not a valid URL", code="url_invalid", param=name)
    if "customer" in params and "customer_email" in params:
        raise ApiError(
            "You may only specify one of these parameters: customer, customer_email.",
            code="parameters_exclusive",
            param="customer_email",
        )


def _check_prices(mode: str, items: list[Json]) -> None:
    prices = [item["price"] for item in items]
    if mode == "subscription":
        subscribing.check_together(prices)
    elif any(price["recurring"] for price in prices):
        raise ApiError(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use "
            "only one-time prices.",
            param="line_items",
        )


def _check_amount(total: int, currency: str) -> None:
    least = payments.LEAST.get(currency, 50)
    if total < least:
        raise ApiError(
            f"The Checkout Session's total amount due must add up to at least {least} (smallest unit of {currency}).",
            code="amount_too_small",
            param="line_items",
        )
    if total > payments.MOST:
        raise ApiError(
            f"The total amount due must be no more than {payments.MOST}.", code="amount_too_large", param="line_items"
        )


def _types(params: Json, currency: str) -> list[str]:
    """The lists are filters: a type that does not fit the currency is dropped silently."""
    wanted = params.get("allowed_payment_method_types") or METHODS
    refused = params.get("excluded_payment_method_types", [])
    fits = [
        name
        for name in (RECURRING if params["mode"] == "subscription" else METHODS)
        if name in wanted and name not in refused and currency in CURRENCIES.get(name, {currency})
    ]
    if not fits:
        raise ApiError("No payment method fits this session.", param="allowed_payment_method_types")
    return fits


def _expiry(params: Json, call: Call) -> int:
    if "expires_at" not in params:
        return store.seconds(call.now + OPEN_FOR)
    low, high = store.seconds(call.now + timedelta(minutes=30)) - 60, store.seconds(call.now + OPEN_FOR) + 60
    if not low <= params["expires_at"] <= high:
        raise ApiError(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return int(params["expires_at"])


def _build(
    params: Json,
    *,
    customer: StoredObject | None,
    currency: str | None,
    total: int | None,
    types: list[str],
    expires_at: int,
) -> Json:
    recurs = params["mode"] == "subscription"
    email = params.get("customer_email") or (customer.data.get("email") if customer else None)
    return {
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "allowed_payment_method_types": params.get("allowed_payment_method_types"),
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "customer": customer.object_id if customer else None,
        "customer_account": None,
        "customer_creation": None
        if customer
        else params.get("customer_creation", "always" if recurs else "if_required"),
        "customer_details": checkout.customer_details(email=email) if email else None,
        "customer_email": params.get("customer_email"),
        "discounts": [],
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "expires_at": expires_at,
        "invoice": None,
        "invoice_creation": None,
        "locale": params.get("locale"),
        "metadata": params.get("metadata", {}),
        "mode": params["mode"],
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always" if recurs else "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": _options(params),
        "payment_method_types": types,
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": params.get("saved_payment_method_options"),
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.get("submit_type"),
        "subscription": None,
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": None,
        "wallet_options": None,
    }


def _options(params: Json) -> Json:
    given = params.get("payment_method_options", {})
    card = {"request_three_d_secure": "automatic", **given.get("card", {})}
    return {**given, "card": card}


@endpoint(
    "GET",
    "/v1/checkout/sessions",
    {
        **LIST,
        "created": TimeRange(),
        "customer": Text(),
        "customer_details": Object({"email!": Text()}),
        "payment_intent": Text(),
        "status": Text(choices=("complete", "expired", "open")),
        "subscription": Text(),
    },
)
def index(call: Call) -> Json:
    rows, params = StoredObject.objects.filter(kind="checkout.session"), call.params
    for name in ("customer", "payment_intent"):
        if name in params:
            rows = rows.filter(**{name: params[name]})
    for name in ("status", "subscription"):
        if name in params:
            rows = rows.filter(**{f"data__{name}": params[name]})
    if "customer_details" in params:
        rows = rows.filter(data__customer_details__email=params["customer_details"]["email"])
    return store.listing(rows, params, url="/v1/checkout/sessions")


@endpoint("GET", "/v1/checkout/sessions/{session}")
def retrieve(call: Call) -> Json:
    return store.get("checkout.session", call.ids["session"]).data


@endpoint("POST", "/v1/checkout/sessions/{session}", {"metadata": Metadata()})
def update(call: Call) -> Json:
    row = store.get("checkout.session", call.ids["session"], lock=True)
    store.change(row, metadata=store.with_metadata(row.data["metadata"], call.params.get("metadata")))
    return row.data


@endpoint("POST", "/v1/checkout/sessions/{session}/expire")
def expire(call: Call) -> Json:
    row = store.get("checkout.session", call.ids["session"], lock=True)
    if row.data["status"] != "open":
        raise ApiError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This one is {row.data["status"]}.',
            param="session",
        )
    checkout.expire(row, call.moment)
    return row.data


@endpoint("GET", "/v1/checkout/sessions/{session}/line_items", LIST)
def items_of(call: Call) -> Json:
    row = store.get("checkout.session", call.ids["session"])
    return line_items.page(row, call.params)


expand.INCLUDED["checkout.session", "line_items"] = lambda body: line_items.page(
    store.get("checkout.session", body["id"]), {}
)
