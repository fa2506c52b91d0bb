"""The forms of the price desk: one price in fields and lines, a whole file, a start, a rehearsal's length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from billing.catalog import drafts, importing
from billing.catalog.documents import read_document
from billing.catalog.models import Channel, Model, PriceVersion
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.plans import PER_TOKEN, PriceSpec, plain
from billing.catalog.price_text import (
    multipliers_text,
    read_multipliers,
    read_specials,
    read_tiers,
    specials_text,
    tiers_text,
)
from billing.errors import BillingError
from config import clock
from config.admin_base import ReasonForm

FORMATS: Final = [
    ("meterhall", _("Our own format")),
    ("litellm", _("LiteLLM's model_prices_and_context_window.json")),
    ("genai-prices", _("The prices of the installed genai-prices package (no file)")),
]
LARGEST_FILE: Final = 10 * 2**20
PRICE: Final[dict[str, Any]] = {"max_digits": 24, "decimal_places": 14, "min_value": 0, "required": False}


def _lines(rows: int) -> Any:
    return UnfoldAdminTextareaWidget(attrs={"rows": rows, "spellcheck": "false"})


_PLAIN: Final = (
    *("type", "free", "input_per_1k", "output_per_1k", "price"),
    *("multiplier_cap", "second_step", "min_seconds"),
)


class PriceForm(ReasonForm):
    """One price. The lines are those of `billing/catalog/price_text.py`."""

    title = forms.CharField(label=_("Title of the draft"), max_length=120)
    model = forms.CharField(label=_("Model"), max_length=120, help_text=_("The slug of a model in the catalogue."))
    channel = forms.ChoiceField(label=_("Channel"), choices=[])
    type = forms.ChoiceField(label=_("Price type"), choices=PriceVersion.Type.choices)
    free = forms.BooleanField(label=_("Free"), required=False, help_text=_("A price of zero is free only then."))
    input_per_1k = forms.DecimalField(
        label=_("Input, USD per 1K tokens"), help_text=_("For example 0.0025, which is $2.50 a million."), **PRICE
    )
    output_per_1k = forms.DecimalField(label=_("Output, USD per 1K tokens"), **PRICE)
    price = forms.DecimalField(
        label=_("Price, USD per unit"), help_text=_("For prices by request, second, megapixel or image."), **PRICE
    )
    specials = forms.CharField(
        label=_("Special tokens"),
        required=False,
        max_length=2000,
        widget=_lines(4),
        help_text=_(
            "One a line: “cache_read × 0.1” is a multiple of the base price, “reasoning 0.015” a price per 1K."
        ),
    )
    tiers = forms.CharField(
        label=_("Tiers by length of context"),
        required=False,
        max_length=2000,
        widget=_lines(2),
        help_text=_("One a line: “above 200000: input 0.005, output 0.02”."),
    )
    multipliers = forms.CharField(
        label=_("Field multipliers"),
        required=False,
        max_length=4000,
        widget=_lines(4),
        help_text=_("One a line: “header:x-priority = true × 1.8”."),
    )
    multiplier_cap = forms.DecimalField(
        label=_("Largest product of field multipliers"), required=False, min_value=0, max_digits=12, decimal_places=6
    )
    second_step = forms.DecimalField(
        label=_("Seconds are rounded up to"), required=False, min_value=0, max_digits=12, decimal_places=3
    )
    min_seconds = forms.DecimalField(
        label=_("Fewest seconds billed"), required=False, min_value=0, max_digits=12, decimal_places=3
    )

    def __init__(self, *arguments: Any, obj: Any = None, **options: Any) -> None:
        super().__init__(*arguments, obj=obj, **options)
        channels = [(channel.code, str(channel)) for channel in Channel.objects.filter(active=True)]
        self.fields["channel"].choices = self.fields["channel"].widget.choices = channels  # type: ignore[attr-defined]
        if obj is not None:
            del self.fields["title"]

    @staticmethod
    def prefill(obj: Any, params: Mapping[str, str]) -> dict[str, Any]:
        """From the draft's own price, else from the version in force, as the link names them."""
        model, channel = params.get("model", "")[:120], params.get("channel", "default")[:60]
        spec = drafts.price_in(obj, model, channel) if isinstance(obj, PriceDraft) else None
        if spec is None:
            price = drafts.in_force(model, channel, clock.now())
            spec = price.plan.spec if price is not None else None
        if spec is None:
            return {"model": model, "channel": channel}
        names = (
            "type",
            "free",
            "input_per_1k",
            "output_per_1k",
            "price",
            "multiplier_cap",
            "second_step",
            "min_seconds",
        )
        told = {name: getattr(spec, name) for name in names}
        return {name: plain(value) if hasattr(value, "as_tuple") else value for name, value in told.items()} | {
            "title": f"{model}"[:120],
            "model": model,
            "channel": channel,
            "specials": specials_text(spec),
            "tiers": tiers_text(spec),
            "multipliers": multipliers_text(spec),
        }

    def clean_model(self) -> str:
        """A model that we have; a file brings new ones."""
        slug = str(self.cleaned_data["model"]).strip()
        if not Model.objects.filter(slug=slug).exists():
            raise ValidationError(_("There is no model with this slug. New models come in with a file."))
        return slug

    def clean(self) -> dict[str, Any]:
        """The fields together as a price that can be compiled."""
        data: dict[str, Any] = super().clean() or {}
        if self.errors:
            return data
        body: dict[str, Any] = {
            "channel": data["channel"],
            "type": data["type"],
            "free": bool(data["free"]),
            "effective_from": clock.now().isoformat(),
        }
        names = ["multiplier_cap", "second_step", "min_seconds"]
        names += ["input_per_1k", "output_per_1k"] if data["type"] == PER_TOKEN else ["price"]
        body |= {name: plain(data[name]) for name in names if data.get(name) is not None}
        for name, read in (("specials", read_specials), ("tiers", read_tiers), ("multipliers", read_multipliers)):
            try:
                found: Any = read(data.get(name) or "")
            except BillingError as refusal:
                self.add_error(name, str(refusal))
                continue
            body |= found if isinstance(found, dict) else {{"multipliers": "field_multipliers"}.get(name, name): found}
        if self.errors:
            return data
        try:
            document = read_document({"models": [{"slug": data["model"], "prices": [body]}]})
        except BillingError as refusal:
            self.add_error(None, str(refusal).removeprefix("models[0].prices[0]: "))
            return data
        spec: PriceSpec = document.models[0].prices[0].spec
        return data | {"spec": spec}


class FileForm(ReasonForm):
    """A catalogue of many prices."""

    title = forms.CharField(label=_("Title of the draft"), max_length=120)
    format = forms.ChoiceField(label=_("Format"), choices=FORMATS)
    file = forms.FileField(
        label=_("File"), required=False, widget=UnfoldAdminFileFieldWidget, help_text=_("JSON, at most 10 MB.")
    )

    def clean(self) -> dict[str, Any]:
        """The document that the file is, or the place that cannot be read."""
        data: dict[str, Any] = super().clean() or {}
        file = data.get("file")
        if self.errors:
            return data
        if file is None and data["format"] != "genai-prices":
            self.add_error("file", _("Choose a file."))
            return data
        if file is not None and file.size > LARGEST_FILE:
            self.add_error("file", _("The file is larger than 10 MB."))
            return data
        try:
            document = importing.read(file.read() if file else None, format=data["format"], now=clock.now())
        except BillingError as refusal:
            self.add_error("file", str(refusal))
            return data
        return data | {"document": document}


class ScheduleForm(ReasonForm):
    """From when."""

    starts_at = forms.DateTimeField(
        label=_("Start (UTC)"), required=False, help_text=_("Empty: the prices hold from the moment of publishing.")
    )

    @staticmethod
    def prefill(obj: PriceDraft, _params: Mapping[str, str]) -> dict[str, Any]:
        """As it is now."""
        return {"starts_at": obj.starts_at.strftime("%Y-%m-%dT%H:%M") if obj.starts_at else ""}


class RehearsalForm(ReasonForm):
    """How far back."""

    days = forms.IntegerField(label=_("Days"), min_value=1, max_value=92, initial=30)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        del self.fields["reason"]  # it changes nothing


class DropForm(ReasonForm):
    """Which price."""

    which = forms.ChoiceField(label=_("Price"), choices=[])

    def __init__(self, *arguments: Any, obj: Any = None, **options: Any) -> None:
        super().__init__(*arguments, obj=obj, **options)
        places = [
            (model["slug"], price.get("channel", "default"))
            for model in obj.document.get("models", [])
            for price in model.get("prices", [])
        ]
        choices = [(f"{model} {channel}", f"{model} · {channel}") for model, channel in places]
        self.fields["which"].choices = self.fields["which"].widget.choices = choices  # type: ignore[attr-defined]
