"""What every page is made of: money, times, states, navigation and form fields as filters and tags.

These are template builtins (no `{% load %}`). `templates/README.md` lists them with examples.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, FileInput, RadioSelect, Select
from django.template.defaultfilters import date as format_date
from django.templatetags.static import static
from django.urls import Resolver404, resolve
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import pgettext, pgettext_lazy

from config import clock
from config.finders import PAYMENT_LOGOS

register = template.Library()
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
CENT = Decimal("0.01")


# --- Numbers ------------------------------------------------------------------------------------------------------
def _decimal(value: Any) -> Decimal | None:
    """The value as a Decimal, or None when there is nothing to show. Floats are refused: money is never a float."""
    value = getattr(value, "amount", value)
    if value is None or value == "":
        return None
    if isinstance(value, float):
        raise TypeError("Give money and quantities as Decimal, int or str, not as float.")
    try:
        return Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        return None


def _fixed(amount: Decimal, least: int, most: int) -> str:
    """Grouped by thousands, rounded half up to `most` places, with at least `least` of them."""
    text = f"{abs(amount).quantize(Decimal(1).scaleb(-most), rounding=ROUND_HALF_UP):,f}"
    if most > least and "." in text:
        whole, _dot, places = text.partition(".")
        places = places.rstrip("0").ljust(least, "0")
        text = f"{whole}.{places}" if places else whole
    return text


def _exact(amount: Decimal) -> str:
    return f"{amount.normalize():f}" if amount else "0"


def money_text(value: Any, *, least: int = 2, most: int = 2, sign: str = "$") -> str:
    """`$1,234.50`, `−$2.53`; an amount that is too small to show reads `<$0.000001`, never `$0.000000`."""
    amount = _decimal(value)
    if amount is None:
        return NOTHING
    shown = _fixed(amount, least, most)
    minus = MINUS if amount < 0 else ""
    if most > 2 and amount and not shown.strip("0.,"):
        return f"{minus}<{sign}{_fixed(Decimal(1).scaleb(-most), most, most)}"
    if not shown.strip("0.,"):
        minus = ""
    return f"{minus}{sign}{shown}"


def call_text(value: Any) -> str:
    """Whole cents with two places, everything finer with six, so that a column of charges lines up."""
    amount = _decimal(value)
    return (
        money_text(value) if amount is None or amount == amount.quantize(CENT) else money_text(value, least=6, most=6)
    )


def _amount_html(value: Any, text: str, places: int, unit: str) -> str:
    """The text with the exact value on hover, where the text rounds."""
    amount = _decimal(value)
    if amount is None or amount == amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP):
        return format_html('<span class="num">{}</span>', text)
    exact = f"{unit}{_exact(abs(amount))}" if unit in "$¥" else f"{_exact(abs(amount))} {unit}"
    minus = MINUS if amount < 0 else ""
    return format_html('<span class="num" title="{}{}">{}</span>', minus, exact, text)


@register.filter
def usd(value: Any) -> str:
    """Money that moves: two places, the exact value on hover when it has more."""
    return _amount_html(value, money_text(value), 2, "$")


@register.filter
def usd6(value: Any) -> str:
    """What a call is charged: six places (two for whole cents), the exact value on hover when it has more."""
    return _amount_html(value, call_text(value), 6, "$")


@register.filter
def usd_text(value: Any) -> str:
    """`usd` as plain text, for attributes and blocktranslate."""
    return money_text(value)


@register.filter
def usd6_text(value: Any) -> str:
    """`usd6` as plain text, for attributes and blocktranslate."""
    return call_text(value)


@register.filter
def price(value: Any) -> str:
    """A unit price: at least two places, as many more as it needs up to ten: `$3.00`, `$0.0125`."""
    return _amount_html(value, money_text(value, most=10), 10, "$")


@register.filter
def price_text(value: Any) -> str:
    """`price` as plain text."""
    return money_text(value, most=10)


@register.filter
def usd_signed(value: Any) -> str:
    """A movement: `+$20.00`, `−$0.05`, with the exact value on hover."""
    amount = _decimal(value)
    text = money_text(value)
    return _amount_html(value, f"+{text}" if amount and amount > 0 else text, 2, "$")


@register.filter
def usd6_signed(value: Any) -> str:
    """A movement of a call: `−$0.054264`, with the exact value on hover."""
    amount = _decimal(value)
    text = call_text(value)
    return _amount_html(value, f"+{text}" if amount and amount > 0 else text, 6, "$")


@register.filter
def cny(value: Any) -> str:
    """Renminbi, two places."""
    return _amount_html(value, money_text(value, sign="¥"), 2, "¥")


@register.filter
def cny_text(value: Any) -> str:
    """`cny` as plain text."""
    return money_text(value, sign="¥")


@register.filter
def flows(value: Any) -> str:
    """`5.3 Flows`: up to four places."""
    amount = _decimal(value)
    if amount is None:
        return NOTHING
    unit = pgettext("unit", "Flows")
    return _amount_html(value, f"{flow_count(value)} {unit}", 4, unit)


@register.filter
def flow_count(value: Any) -> str:
    """Flows without the unit, for a column that names it: at least one place, up to four."""
    amount = _decimal(value)
    return NOTHING if amount is None else (MINUS if amount < 0 else "") + _fixed(amount, 1, 4)


@register.filter
def count(value: Any) -> str:
    """`12,000`; a dash for nothing known."""
    amount = _decimal(value)
    return NOTHING if amount is None else (MINUS if amount < 0 else "") + _fixed(amount, 0, 6)


@register.filter
def number(value: Any, places: Any = 4) -> str:
    """A rate or factor with this many places at most: `7.3`, `0.003`, `1.25`."""
    amount = _decimal(value)
    return NOTHING if amount is None else (MINUS if amount < 0 else "") + _fixed(amount, 0, int(places))


@register.filter
def percent(value: Any, places: Any = 0) -> str:
    """A share from 0 to 1 as `37 %`."""
    amount = _decimal(value)
    return NOTHING if amount is None else f"{_fixed(amount * 100, 0, int(places))}\N{NO-BREAK SPACE}%"


# --- Time ---------------------------------------------------------------------------------------------------------
_FORMATS = {
    # Django's date letters; translators put them in the order of their language.
    "short": (pgettext_lazy("date format, this year", "M j, H:i"), pgettext_lazy("date format", "M j, Y, H:i")),
    "seconds": (pgettext_lazy("date format, this year", "M j, H:i:s"), pgettext_lazy("date format", "M j, Y, H:i:s")),
    "date": (pgettext_lazy("date format, this year", "M j"), pgettext_lazy("date format", "M j, Y")),
    "full": (pgettext_lazy("date format", "M j, Y, H:i:s"), pgettext_lazy("date format", "M j, Y, H:i:s")),
    "time": ("H:i:s", "H:i:s"),
    "month": (pgettext_lazy("date format", "F Y"), pgettext_lazy("date format", "F Y")),
}


@register.filter
def when(value: datetime | date | None, style: str = "short") -> str:
    """A `<time>` in the reader's zone; the full time with its zone on hover.

    Styles: `short`, `seconds`, `date`, `full`, `time`, `month`. The year is left out while it is the present one.
    """
    if value is None or value == "":
        return NOTHING
    if not isinstance(value, datetime):
        now = timezone.localtime(clock.now())
        text = format_date(
            value, str(_FORMATS[style if style in ("date", "month") else "date"][value.year != now.year])
        )
        return format_html('<time datetime="{}">{}</time>', value.isoformat(), text)
    local = timezone.localtime(value)
    text = format_date(local, str(_FORMATS[style][local.year != timezone.localtime(clock.now()).year]))
    full = f"{format_date(local, str(_FORMATS['full'][0]))} {local.tzname()}"
    return format_html('<time datetime="{}" title="{}">{}</time>', value.isoformat(), full, text)


# --- States -------------------------------------------------------------------------------------------------------
_TONES = {
    "green": "succeeded paid active credited captured posted verified charged completed resolved enabled settled ok "
    "done published passed released redeemed sent issued",
    "azure": "processing pending running open authorized submitted requested queued new reserved approved balance "
    "proposed",
    "yellow": "past_due expiring duplicate waiting held attention overdue requires_action unverified quarantined "
    "parked frozen retrying",
    "red": "failed declined disabled denied rejected suspended disputed revoked error lost refund_wanted",
    "primary": "subscription flows payg",
}
_TONE_OF = {status: tone for tone, statuses in _TONES.items() for status in statuses.split()}


@register.simple_tag
def status_badge(status: Any, label: Any = "", tone: str = "", title: str = "") -> str:
    """A state as a badge; the words carry the meaning, the colour only helps. `label` is the translated text."""
    value = getattr(status, "value", status)
    text = label or getattr(status, "label", "") or str(value).replace("_", " ")
    tone = tone or _TONE_OF.get(str(value).lower(), "secondary")
    hover = format_html(' title="{}"', title) if title else ""
    return format_html('<span class="badge bg-{}-lt" data-status="{}"{}>{}</span>', tone, value, hover, text)


@register.filter
def masked(credential: Any) -> str:
    """`sk-pg-v1-…9f3a`, from a key or its masked text."""
    text = getattr(credential, "masked", credential)
    return format_html('<code class="key-mask">{}</code>', text) if text else NOTHING


_VENDORS = {
    "ai21": "AI21",
    "bytedance": "ByteDance",
    "deepseek": "DeepSeek",
    "inclusionai": "InclusionAI",
    "minimax": "MiniMax",
    "mistralai": "Mistral",
    "moonshotai": "Moonshot AI",
    "nanobanana": "NanoBanana",
    "openai": "OpenAI",
    "stepfun": "StepFun",
    "x-ai": "xAI",
    "z-ai": "Z.ai",
}


@register.filter
def vendor_name(slug: Any) -> str:
    """A vendor as it writes itself."""
    return _VENDORS.get(str(slug), str(slug).replace("-", " ").title())


@register.simple_tag
def meter(value: Any, limit: Any, label: str = "", tone: str = "primary", pending: Any = 0) -> str:
    """How full something is: used, then what is pending, of a limit. Drawn as SVG, so it needs no inline style."""
    used, more, top = (_decimal(part) or Decimal(0) for part in (value, pending, limit))
    share = min(max(used / top, Decimal(0)), Decimal(1)) if top > 0 else Decimal(0)
    rest = min(max(more / top, Decimal(0)), 1 - share) if top > 0 else Decimal(0)
    return format_html(
        '<svg class="meter meter-{}" role="img" aria-label="{}" preserveAspectRatio="none">'
        '<rect class="meter-track" width="100%" height="100%"/><rect class="meter-used" width="{}%" height="100%"/>'
        '<rect class="meter-pending" x="{}%" width="{}%" height="100%"/></svg>',
        tone,
        label or percent(share),
        _fixed(share * 100, 0, 2),
        _fixed(share * 100, 0, 2),
        _fixed(rest * 100, 0, 2),
    )


@register.simple_tag
def icon(name: str, classes: str = "") -> str:
    """A Tabler icon; decoration only, hidden from screen readers."""
    return format_html('<i class="ti ti-{} {}" aria-hidden="true"></i>', name, classes)


_LOGO_OF = {"amex": "americanexpress", "diners": "dinersclub", "wechat_pay": "we-chat-pay"}


@register.simple_tag
def payment_logo(brand: Any) -> str:
    """The mark of a card brand or payment method, for beside its name; a plain card for those without one."""
    name = _LOGO_OF.get(str(brand), str(brand))
    if name not in PAYMENT_LOGOS:
        return icon("credit-card", "payment-logo-icon")
    return format_html('<img class="payment-logo" src="{}" alt="">', static(f"tabler/img/payments/{name}.svg"))


@register.simple_tag
def copy_button(value: Any, label: str = "") -> str:
    """A button that copies the value. It says so to screen readers when done."""
    return format_html(
        '<button type="button" class="btn-copy" data-copy="{}" data-copied="{}" aria-label="{}" title="{}">'
        '<i class="ti ti-copy" aria-hidden="true"></i></button>',
        value,
        _("Copied"),
        label or _("Copy"),
        label or _("Copy"),
    )


@register.simple_tag
def chart(data: Any, id: str, label: str, size: str = "md") -> str:
    """A chart from data: `{"type": "bar"|"line", "labels": […], "series": [{"name", "data"}], "unit": "usd"}`.

    Amounts are decimal strings: they become drawing positions in the browser, and nothing is counted with them there.
    """
    payload = json.dumps(data, default=str, ensure_ascii=False)
    for character, escaped in (("<", "\\u003C"), (">", "\\u003E"), ("&", "\\u0026")):
        payload = payload.replace(character, escaped)
    return format_html(
        '<div class="chart-box chart-{0}"><canvas data-chart="{1}" role="img" aria-label="{2}"></canvas></div>'
        '<script type="application/json" id="{1}">{3}</script>',
        size,
        id,
        label,
        mark_safe(payload),  # noqa: S308  # Escaped above as json_script does.
    )


# --- Getting around -----------------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def _served(path: str, urlconf: str) -> str:
    """The path, with the slash that it needs, if some view answers it; else the empty string."""
    for candidate in (path, f"{path}/"):
        try:
            resolve(candidate, urlconf)
        except Resolver404:
            continue
        return candidate
    return ""


@register.simple_tag
def served(path: str) -> str:
    """`{% served "/pricing" as url %}`: empty while no page answers there, so that no link leads nowhere."""
    return _served(path, settings.ROOT_URLCONF)


@register.inclusion_tag("components/nav_item.html", takes_context=True)
def nav_item(context: template.Context, path: str, icon: str, label: str, but: str = "") -> dict[str, Any]:
    """A line of the sidebar; absent while its page does not exist. `but`: a page below it with a line of its own."""
    url = _served(path, settings.ROOT_URLCONF)
    request = context.get("request")
    here = getattr(request, "path", "").rstrip("/")
    active = here == path or (here.startswith(f"{path}/") and not (but and here == but))
    return {"url": url, "icon": icon, "label": label, "active": active}


# --- Forms --------------------------------------------------------------------------------------------------------
def _widget_class(field: BoundField) -> str:
    widget = field.field.widget
    if isinstance(widget, CheckboxInput | RadioSelect | CheckboxSelectMultiple):
        return "form-check-input"
    if isinstance(widget, Select):
        return "form-select"
    return "form-control" if not isinstance(widget, FileInput) else "form-control form-control-file"


@register.filter
def widget(field: BoundField, extra: str = "") -> SafeString:
    """The field's input with the look of its kind; errors and help are announced with it."""
    classes = [_widget_class(field), field.field.widget.attrs.get("class", ""), extra]
    if field.errors:
        classes.append("is-invalid")
    return field.as_widget(attrs={"class": " ".join(filter(None, classes))})


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, label: str = "", prefix: str = "", suffix: str = "") -> dict[str, Any]:
    """Label, input, help and errors of one field."""
    kind = bound.field.widget
    return {
        "field": bound,
        "label": label or bound.label,
        "prefix": prefix,
        "suffix": suffix,
        "is_check": isinstance(kind, CheckboxInput),
        "is_group": isinstance(kind, RadioSelect | CheckboxSelectMultiple),
    }


@register.inclusion_tag("components/fields.html")
def fields(form: Any, placeholders: bool = True) -> dict[str, Any]:
    """All of a form's fields, with the errors that belong to none of them on top.

    Without placeholders where they only say again what the label says, as allauth's do.
    """
    if not placeholders:
        for one in form.fields.values():
            one.widget.attrs.pop("placeholder", None)
    return {"form": form}
