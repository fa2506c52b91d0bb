"""/v1/balance_transactions: what each payment and refund did to the merchant's balance, with Stripe's fee."""

from datetime import timedelta

from sandbox import expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Currency, Text, TimeRange
from sandbox.routes import Call, endpoint
from sandbox.store import Moment

expand.REFERENCES["balance_transaction"] = {"source"}
AVAILABLE_AFTER = timedelta(days=2)


def processing_fee(amount: int) -> int:
    """2.9 % and 30 cents, half up."""
    return (amount * 29 + 500) // 1000 + 30


def book(
    type: str, amount: int, currency: str, source: str, moment: Moment, *, fee: int = 0, category: str | None = None
) -> str:
    """Write a balance transaction and return its id."""
    fee_details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    row = store.create(
        "balance_transaction",
        {
            "amount": amount,
            "available_on": store.seconds(moment.now + AVAILABLE_AFTER),
            "balance_type": "payments",
            "currency": currency,
            "description": None,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": fee_details if fee else [],
            "net": amount - fee,
            "reporting_category": category or type,
            "source": source,
            "status": "pending",
            "type": type,
        },
        now=moment.now,
    )
    return row.object_id


@endpoint("GET", "/v1/balance_transactions/{id}")
def retrieve(call: Call) -> Json:
    return store.get("balance_transaction", call.ids["id"]).data


@endpoint(
    "GET",
    "/v1/balance_transactions",
    {**LIST, "created": TimeRange(), "currency": Currency(), "source": Text(), "type": Text()},
)
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="balance_transaction")
    for name in ("currency", "source", "type"):
        if name in call.params:
            rows = rows.filter(**{f"data__{name}": call.params[name]})
    return store.listing(rows, call.params, url="/v1/balance_transactions")
