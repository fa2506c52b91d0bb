"""A checkout session from its creation to its events."""


def test_a_card_payment_leads_back_to_the_shop_and_writes_its_events(sandbox):
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params(amount=2000))
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert session.url == f"{sandbox.url}/sandbox/checkout/{session.id}"

    paid = sandbox.pay(session.id)

    assert paid.url == f"{sandbox.url}/return?session={session.id}"
    session = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (session.status, session.payment_status) == ("complete", "paid")
    assert session.payment_intent.amount_received == 2000
    assert session.payment_intent.latest_charge.outcome.type == "authorized"
    assert [event["type"] for event in sandbox.events()] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "checkout.session.completed",
    ]
