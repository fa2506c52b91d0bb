"""/v1/billing_portal/sessions: a link to the page on which a customer sees cards and invoices."""

from django.conf import settings

from sandbox import events, store
from sandbox.errors import Json, missing
from sandbox.params import Text
from sandbox.routes import Call, endpoint

CONFIGURATION = "bpc_sandbox"


@endpoint(
    "POST",
    "/v1/billing_portal/sessions",
    {"customer": Text(), "locale": Text(choices=("auto", "en", "en-GB", "zh", "zh-HK", "zh-TW")), "return_url": Text()},
)
def create(call: Call) -> Json:
    params = call.params
    if "customer" not in params:
        raise missing("customer")
    customer = store.get("customer", params["customer"], param="customer").object_id
    body = {
        "configuration": CONFIGURATION,
        "customer": customer,
        "customer_account": None,
        "flow": None,
        "locale": params.get("locale"),
        "on_behalf_of": None,
        "return_url": params.get("return_url"),
        "url": "",
    }
    row = store.create("billing_portal.session", body, now=call.now)
    store.change(row, url=f"{settings.PUBLIC_URL}/sandbox/portal/{row.object_id}")
    events.record("billing_portal.session.created", row, call.moment)
    return row.data
