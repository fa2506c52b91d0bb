"""Times as the cockpit says them: short beside a counter, exact with the time zone on hover."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from config.templatetags import ui

register = template.Library()
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
TENTH: Final = Decimal("0.1")


@register.filter
def about(value: Decimal) -> str:
    """Flows to a tenth, for a number that is read at a glance; what is less than one keeps its places."""
    return ui.flow_count(value.quantize(TENTH, rounding=ROUND_HALF_UP) if abs(value) >= 1 else value)


@register.simple_tag
def moment(value: datetime, now: datetime) -> str:
    """`14:00` today, `Thu 09:12` within a week, else `Dec 12, 09:12`; in full with the zone on hover."""
    local, today = timezone.localtime(value), timezone.localtime(now)
    if local.date() == today.date():
        style = "H:i"
    elif abs(local.date() - today.date()) < 7 * DAY:
        style = pgettext("date format, weekday", "D H:i")
    elif local.year == today.year:
        style = pgettext("date format, this year", "M j, H:i")
    else:
        style = pgettext("date format", "M j, Y, H:i")
    full = f"{date_format(local, pgettext('date format', 'M j, Y, H:i:s'))} {local.tzname()}"
    return format_html('<time datetime="{}" title="{}">{}</time>', value.isoformat(), full, date_format(local, style))


@register.simple_tag
def time_left(value: datetime, now: datetime) -> str:
    """`1 h 56 m`: the two largest units, rounded down."""
    left = max(value - now, timedelta())
    if left >= DAY:
        return _("%(days)s d %(hours)s h") % {"days": left // DAY, "hours": left % DAY // HOUR}
    if left >= HOUR:
        return _("%(hours)s h %(minutes)s m") % {"hours": left // HOUR, "minutes": left % HOUR // MINUTE}
    if left >= MINUTE:
        return _("%(minutes)s m") % {"minutes": left // MINUTE}
    return _("less than a minute")
