"""What a customer may say about a key or a group of keys."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, KeyGroup
from billing.catalog.book import Book

MOST_YEARS: Final = 5
CHECK: Final = {"class": "form-check-input"}


def model_choices(book: Book) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every model that may be called some day, by vendor."""
    by_vendor: dict[str, list[tuple[str, str]]] = {}
    for card in sorted(book.models.values(), key=lambda card: (card.vendor, card.name.lower())):
        if card.active:
            by_vendor.setdefault(card.vendor, []).append((card.slug, card.name))
    return list(by_vendor.items())


class ModelsForm(forms.Form):
    """All models, or the ones that are ticked."""

    WHICH: ClassVar[list[tuple[str, Any]]] = [("all", _("All models")), ("some", _("Only these"))]

    which = forms.ChoiceField(label=_("Models"), choices=WHICH, widget=forms.RadioSelect(attrs=CHECK), initial="all")
    models = forms.MultipleChoiceField(label=_("Only these"), required=False)

    def __init__(self, *args: Any, book: Book, **options: Any) -> None:
        super().__init__(*args, **options)
        self.vendors = model_choices(book)
        known = {slug for _vendor, models in self.vendors for slug, _name in models}
        # A model that has left the catalogue stays on the key until somebody takes it off.
        kept = [slug for slug in self.initial.get("models") or [] if slug not in known]
        if kept:
            self.vendors.append(("", [(slug, slug) for slug in kept]))
        self.fields["models"].choices = self.vendors  # type: ignore[attr-defined]

    @property
    def ticked(self) -> set[str]:
        """What the boxes show."""
        return set(self["models"].value() or [])

    def clean(self) -> dict[str, Any]:
        """Ticking none while saying "only these" would lock the key out of everything."""
        cleaned = super().clean() or {}
        if cleaned.get("which") == "some" and not cleaned.get("models") and "models" not in self.errors:
            self.add_error("models", _("Tick at least one model, or choose all models."))
        return cleaned

    @property
    def allowed(self) -> list[str] | None:
        """The models for the operation: None is all."""
        return sorted(self.cleaned_data["models"]) if self.cleaned_data["which"] == "some" else None


class KeyForm(ModelsForm):
    """A key's name and models."""

    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        help_text=_("The program or person that uses it, so that you see what each costs."),
    )
    field_order: tuple[str, ...] = ("name", "which", "models")


class NewKeyForm(KeyForm):
    """A key to be made: one that is paid from the balance, or one that spends the plan's Flows (F078, F079)."""

    KINDS: ClassVar[list[tuple[str, Any]]] = [
        (ApiKey.Kind.PAYG, _("Pay as you go: from the balance")),
        (ApiKey.Kind.SUBSCRIPTION, _("Subscription: from the plan's Flows")),
    ]

    LASTS: ClassVar[list[tuple[str, Any]]] = [
        ("", _("Never")),
        ("30", _("In 30 days")),
        ("90", _("In 90 days")),
        ("365", _("In a year")),
        ("date", _("On a date")),
    ]

    kind = forms.ChoiceField(
        label=_("What pays for its calls"),
        choices=KINDS,
        widget=forms.RadioSelect(attrs=CHECK),
        required=False,
        initial=ApiKey.Kind.PAYG,
    )
    lasts = forms.ChoiceField(label=_("Expires"), choices=LASTS, required=False)
    until = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    group = forms.ModelChoiceField(
        label=_("Group"), queryset=KeyGroup.objects.none(), required=False, empty_label=_("No group")
    )
    field_order = ("name", "kind", "lasts", "until", "group", "which", "models")

    def __init__(self, *args: Any, groups: Any, today: date, **options: Any) -> None:
        super().__init__(*args, **options)
        self.today = today
        self.fields["group"].queryset = groups  # type: ignore[attr-defined]

    def clean_kind(self) -> str:
        """A form that does not ask means the balance."""
        return self.cleaned_data["kind"] or ApiKey.Kind.PAYG

    def clean(self) -> dict[str, Any]:
        """A date is needed where one is promised, and it lies ahead."""
        cleaned = super().clean()
        if cleaned.get("lasts") == "date" and "until" not in self.errors:
            until = cleaned.get("until")
            if until is None:
                self.add_error("until", _("Choose the last day on which the key works."))
            elif not self.today <= until <= self.today.replace(year=self.today.year + MOST_YEARS, day=1):
                self.add_error("until", _("Choose a day from today on, within five years."))
        return cleaned

    def expires_at(self, now: datetime) -> datetime | None:
        """When the key stops: the end of the last day in the reader's zone."""
        lasts = self.cleaned_data["lasts"]
        if lasts == "date":
            return timezone.make_aware(datetime.combine(self.cleaned_data["until"] + timedelta(days=1), time()))
        return now + timedelta(days=int(lasts)) if lasts else None


class RotateForm(forms.Form):
    """When the old secret stops."""

    GRACE: ClassVar[list[tuple[str, Any]]] = [
        ("24", _("In 24 hours: time to bring the new secret everywhere")),
        ("0", _("Now: somebody else may know it")),
    ]

    grace = forms.ChoiceField(
        label=_("The old secret stops"), choices=GRACE, widget=forms.RadioSelect(attrs=CHECK), initial="24"
    )

    @property
    def duration(self) -> timedelta:
        """The grace as a duration."""
        return timedelta(hours=int(self.cleaned_data["grace"]))
