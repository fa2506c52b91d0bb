"""One module per resource group. Importing a module registers its endpoints."""


def register() -> None:
    """Load every resource; called once, when Django is ready."""
    from sandbox.resources import (  # noqa: F401
        balance_transactions,
        billing_portal,
        charges,
        checkout_sessions,
        customers,
        disputes,
        early_fraud_warnings,
        events,
        invoice_payments,
        invoice_previews,
        invoices,
        payment_intents,
        payment_methods,
        prices,
        products,
        refunds,
        saved_cards,
        setup_intents,
        subscription_schedules,
        subscription_updates,
        subscriptions,
    )
