"""Desks of the rate card: models, channels, and their price versions, which nobody edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.catalog import channels
from billing.catalog.models import Channel, Model, PriceVersion, UsageConvention
from billing.desk import BillingDesk
from config import clock
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, count, document, link, list_url, state, to
from config.templatetags import ui


def active(row: Any) -> str:
    """Whether it is offered."""
    return ui.status_badge("active" if row.active else "disabled", gettext("Active") if row.active else gettext("Off"))


def rate(version: PriceVersion) -> str:
    """The base price in one line."""
    if version.free:
        return gettext("free")
    if version.type == PriceVersion.Type.PER_TOKEN:
        return f"{ui.price_text(version.input_per_1k)} / {ui.price_text(version.output_per_1k)}"
    return ui.price_text(version.price)


rate.short_description = _("price")  # type: ignore[attr-defined]


def version_panel(title: Any, versions: Any, **filters: Any) -> Panel:
    """Price versions, newest first."""
    return Panel(
        title,
        (_("version"), _("model"), _("channel"), _("price type"), _("price"), _("from"), _("until")),
        [
            (
                link(one, f"v{one.number}"),
                link(one.model, one.model.slug),
                one.channel.code,
                one.get_type_display(),
                rate(one),
                ui.when(one.effective_from),
                ui.when(one.effective_to),
            )
            for one in versions.select_related("model", "channel").order_by("-effective_from", "-pk")[:20]
        ],
        numbers=frozenset({4}),
        empty=_("No price: calls are refused with model_unpriced."),
        more=list_url(PriceVersion, **filters),
    )


@admin.register(Model)
class ModelAdmin(BillingDesk):
    """What customers call."""

    list_display = (
        "slug",
        "name",
        column(_("vendor"), lambda model: ui.vendor_name(model.vendor), name="vendor"),
        state("kind", _("kind")),
        count("context_window", _("context window")),
        count("max_output_tokens", _("largest output")),
        column(_("state"), active, name="active"),
    )
    list_filter = ("kind", "active", "coming_soon", "vendor")
    ordering = ("slug",)
    finds = (("text", "slug"), ("text", "slug__startswith"), ("text", "name"))
    search_help_text = _("Slug, its beginning, or name")

    def panels(self, request: HttpRequest, obj: Model) -> list[Panel]:
        """Every price it had and has."""
        return [version_panel(_("Prices"), obj.price_versions, model__id__exact=obj.pk)]


class ChannelForm(ReasonForm):
    """A channel's terms."""

    discount = forms.DecimalField(
        label=_("Discount factor"), max_digits=6, decimal_places=4, help_text=_("0.8 means 80 % is paid (C20).")
    )
    usage_convention = forms.ChoiceField(
        label=_("Input counts of its vendor"),
        choices=UsageConvention.choices,
        required=False,
        help_text=_("Set it when the vendor counts cached tokens otherwise than its format documents (C17)."),
    )
    active = forms.BooleanField(
        label=_("Active"), required=False, help_text=_("Off: calls that name this channel are refused.")
    )

    def __init__(self, *arguments: Any, obj: Channel, **options: Any) -> None:
        initial = {name: getattr(obj, name) for name in ("discount", "usage_convention", "active")}
        super().__init__(*arguments, obj=obj, initial=initial, **options)


@admin.register(Channel)
class ChannelAdmin(BillingDesk):
    """Where calls are bought."""

    list_display = (
        "code",
        "name",
        column(_("discount factor"), lambda channel: ui.number(channel.discount), number=True, name="discount"),
        column(_("input counts"), lambda channel: channel.get_usage_convention_display(), name="usage_convention"),
        column(_("state"), active, name="active"),
    )
    ordering = ("code",)
    actions_detail = ("change_terms",)

    def panels(self, request: HttpRequest, obj: Channel) -> list[Panel]:
        """Its newest prices, and what was changed of it."""
        prices = version_panel(_("Newest prices"), obj.price_versions, channel__id__exact=obj.pk)
        return [prices, *audit_panel(request, obj)]

    @staff_action(
        permission="billing.change_terms_channel",
        title=_("Change terms"),
        button=_("Change the channel"),
        sentence=_(
            "The factor holds for every call through this channel that is authorised from now on, of all customers. "
            "Calls already authorised keep theirs."
        ),
        form=ChannelForm,
        icon="edit",
    )
    def change_terms(self, request: HttpRequest, obj: Channel, data: dict[str, Any]) -> str:
        """Another factor."""
        changed = channels.change(
            obj.pk,
            discount=data["discount"],
            active=data["active"],
            usage_convention=data["usage_convention"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return gettext("Channel %(code)s now pays × %(factor)s.") % {
            "code": changed.code,
            "factor": ui.number(changed.discount),
        }


@admin.register(PriceVersion)
class PriceVersionAdmin(BillingDesk):
    """Immutable, dated prices with all their parts; drafts and `import_catalog` make new ones."""

    panel_makers: ClassVar[list[Callable[[HttpRequest, PriceVersion], list[Panel]]]] = []

    row_title = staticmethod(lambda one: f"{one.model.slug} · {one.channel.code} · v{one.number}")
    related = ("model", "channel")
    list_display = (
        column(_("model"), lambda one: one.model.slug, name="model"),
        to("channel", _("channel")),
        column(_("version"), lambda one: f"v{one.number}", name="number"),
        state("type", _("price type")),
        column(_("price"), rate, number=True, name="price"),
        at("effective_from", _("from"), "short"),
        at("effective_to", _("until"), "short"),
        "source",
    )
    list_filter = ("channel", "type", "free", ("effective_to", admin.EmptyFieldListFilter))
    ordering = ("-pk",)
    finds = (("text", "model__slug"), ("number", "pk"))
    search_help_text = _("Model's slug or version's number in the database")
    facts = (
        (
            _("Version"),
            ("model", "channel", "number", "type", "effective_from", "effective_to", "source", "created_at"),
        ),
        (
            _("Price"),
            (
                "free",
                "input_per_1k",
                "output_per_1k",
                "price",
                "additive",
                "multiplier_cap",
                "second_step",
                "min_seconds",
            ),
        ),
    )

    def panels(self, request: HttpRequest, obj: PriceVersion) -> list[Panel]:
        """Components, tiers and field multipliers, and what others know of it."""
        return [
            *(panel for make in self.panel_makers for panel in make(request, obj)),
            Panel(
                _("Components"),
                (_("component"), _("multiple"), _("per 1K")),
                [
                    (one.get_component_display(), ui.number(one.multiple, 6), ui.price(one.per_1k))
                    for one in obj.components.order_by("pk")
                ],
                numbers=frozenset({1, 2}),
                empty=_("None: special tokens cost what plain ones do."),
            ),
            Panel(
                _("Tiers"),
                (_("above input tokens"), _("input per 1K"), _("output per 1K"), _("component prices per 1K")),
                [
                    (
                        ui.count(one.above_input_tokens),
                        ui.price(one.input_per_1k),
                        ui.price(one.output_per_1k),
                        document(one.component_per_1k),
                    )
                    for one in obj.tiers.all()
                ],
                numbers=frozenset({0, 1, 2}),
                empty=_("None: one price for every length."),
            ),
            Panel(
                _("Field multipliers"),
                (_("field"), _("value"), _("multiplier")),
                [(one.field, one.equals, ui.number(one.multiplier, 6)) for one in obj.field_multipliers.order_by("pk")],
                numbers=frozenset({2}),
            ),
        ]
