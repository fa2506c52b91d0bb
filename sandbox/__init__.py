"""The part of Stripe's REST API that we use, for development and tests (API version 2026-10-28.endive).

It keeps its state in its own tables, shows a hosted checkout page and sends signed events to our webhook route.
The real `StripeClient` speaks to it: `base_addresses={"api": f"{PUBLIC_URL}/sandbox"}`. It knows none of our other
apps, and none of them knows it.

Where things are: `api.py` takes a request (key, parameters, idempotency, faults) to a function of `resources/`, one
module per resource; `store.py` keeps the objects; `payments.py` moves payment intents and charges; `events.py` writes
events and `delivery.py` sends them; `switches.py` is how somebody misbehaves on purpose. A new resource is a module
in `resources/` with its endpoints, its builder and its expandable fields, and a line in `resources/__init__.py`.

Subscriptions: `subscribing.py` begins one, `renewing.py` is what time does to it, `proration.py` what a change comes
to, `scheduling.py` what a later phase changes, `ending.py` how it ends. `invoicing.py` is the life of an invoice, and
`standing.py` what its outcome means to the subscription, whose row holds the timers and the lock of both.
"""

API_VERSION = "2026-10-28.endive"
