"""What one agrees to when Extra Usage is turned on, in the reader's language; the very text is kept (2.7)."""

from django.utils.translation import gettext as _


def consent() -> str:
    """The text beside the box, and on record."""
    return _(
        "I agree: when a quota window of the plan is full (five hours, week or billing period), calls that would spend "
        "Flows are paid from this account's balance at pay-as-you-go prices, with the key and up to the monthly cap "
        "that are chosen here. Members who may pay can change both or turn it off at any time."
    )
