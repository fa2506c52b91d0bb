"""What templates ask of payments."""

from django import template

from billing.payments import failures

register = template.Library()


@register.simple_tag
def failure_reason(key: str) -> failures.Reason | None:
    """Our text for a stored failure, in the reader's language; nothing for none."""
    return failures.reason(key) if key else None
