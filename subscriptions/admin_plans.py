"""Desks of plans and their versions; a version is published after a preview, and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.catalog.book import current_book
from billing.catalog.flow_terms import STANDARD
from billing.desk import BillingDesk
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, code, column, count, label_of, link, list_url, listed, row_url, to, usd, yes
from config.templatetags import ui
from subscriptions import publishing
from subscriptions.equivalence import worth
from subscriptions.forms_plans import VersionForm, terms_in
from subscriptions.models import Plan, PlanVersion, Subscription
from subscriptions.plans import Terms, current_plans

SHOWN = 20
LABELS: dict[str, Any] = {
    field.name: label_of(field)
    for field in PlanVersion._meta.concrete_fields
    if field.name in (*publishing.COMPARED, "model_slugs")
}


def present(plan: Plan) -> Terms:
    """The plan's version in force."""
    return current_plans().current(plan.pk, clock.now())


def standing(version: PlanVersion) -> str:
    """In force, to come, or followed by another."""
    now = clock.now()
    if version.effective_from > now:
        return ui.status_badge("scheduled", gettext("to come"), tone="azure")
    if current_plans().current(version.plan_id, now).id == version.pk:
        return ui.status_badge("active", gettext("in force"))
    return ui.status_badge("past", gettext("past"))


def flows(name: str, title: Any) -> Any:
    """A quota."""
    return column(title, lambda row: ui.count(getattr(row, name)), number=True, name=name)


def equivalent(version: PlanVersion) -> str:
    """What its Flows are worth now, and how often its price."""
    rate = current_book().flow_rate(STANDARD, clock.now())
    if rate is None or not version.price_usd:
        return ""
    found = worth(version.flows_period, version.price_usd, rate.flows_per_usd)
    return f"{ui.usd_text(found.usd_shown)} · {ui.number(found.leverage_shown, 2)}×"


equivalent.short_description = _("equivalent at the rate now")  # type: ignore[attr-defined]


def models_of(version: PlanVersion) -> str:
    """How many."""
    return ui.count(len(version.model_slugs))


models_of.short_description = _("models")  # type: ignore[attr-defined]


def shown(field: str, value: Any) -> Any:
    """A term in the preview's table."""
    if field == "price_usd":
        return ui.usd_text(value)
    if field == "anchor_policy":
        return dict(PlanVersion.AnchorPolicy.choices).get(value, value)
    return yes(value) if isinstance(value, bool) else ui.count(value)


@admin.register(Plan)
class PlanAdmin(BillingDesk):
    """What is on offer."""

    list_display = (
        "name",
        column(_("code"), lambda plan: code(plan.pk), name="code"),
        column(_("version"), lambda plan: f"v{present(plan).number}", name="version"),
        column(_("price a month"), lambda plan: ui.usd(present(plan).price_usd), number=True, name="price"),
        column(_("Flows in five hours"), lambda plan: ui.count(present(plan).flows_5h), number=True, name="five"),
        column(_("in a week"), lambda plan: ui.count(present(plan).flows_week), number=True, name="week"),
        column(_("in a billing period"), lambda plan: ui.count(present(plan).flows_period), number=True, name="period"),
        column(_("requests a minute"), lambda plan: ui.count(present(plan).rpm), number=True, name="rpm"),
        column(_("models"), lambda plan: ui.count(len(present(plan).models)), number=True, name="models"),
    )
    ordering = ("rank",)
    finds = (("text", "pk"), ("text", "name"))
    search_help_text = _("Code or name")
    facts = ((_("Plan"), ("name", "code", "rank")),)
    actions_detail = ("publish_version",)

    def panels(self, request: HttpRequest, obj: Plan) -> list[Panel]:
        """Its versions with those who have them, and what staff did."""
        in_force = {
            row["plan_version"]: row["n"]
            for row in Subscription.objects.filter(plan_version__plan=obj, status__in=Subscription.IN_FORCE)
            .values("plan_version")
            .annotate(n=Count("pk"))
        }
        rows = obj.versions.order_by("-effective_from")[:SHOWN]
        return [
            Panel(
                _("Versions"),
                (
                    _("version"), _("state"), _("from"), _("price a month"), _("Flows 5h / week / period"),
                    _("requests a minute"), _("models"), _("subscribers"), _("note"),
                ),
                [
                    (
                        link(one, f"v{one.number}"), standing(one), ui.when(one.effective_from), ui.usd(one.price_usd),
                        " / ".join(ui.count(getattr(one, name)) for name in publishing.QUOTAS), ui.count(one.rpm),
                        models_of(one), ui.count(in_force.get(one.pk, 0)), one.note,
                    )
                    for one in rows
                ],
                numbers=frozenset({3, 4, 5, 6, 7}),
                more=list_url(PlanVersion, plan__code__exact=obj.pk),
            )
        ]  # fmt: skip

    @staff_action(
        permission="subscriptions.publish_planversion",
        title=_("Publish a new version"),
        button=_("Preview"),
        sentence=_(
            "Change what the next version says; nothing is published before you have seen the preview. Subscribers "
            "keep the version that they have until they change their plan."
        ),
        form=VersionForm,
        icon="publish",
    )
    def publish_version(self, request: HttpRequest, obj: Plan, data: dict[str, Any]) -> HttpResponse:
        """A preview first; with what that preview showed, the version."""
        now, terms = clock.now(), terms_in(data)
        if not data["seen"]:
            return self._preview(request, obj, publishing.preview(obj.pk, terms, now=now))
        version = publishing.publish(
            obj.pk, terms, actor=person(request), reason=data["reason"], seen=data["seen"], now=now
        )
        said = {"plan": obj.name, "number": version.number, "at": f"{version.effective_from:%Y-%m-%d %H:%M}"}
        messages.success(request, gettext("%(plan)s v%(number)s is published, from %(at)s UTC.") % said)
        return HttpResponseRedirect(row_url(version))

    def _preview(self, request: HttpRequest, plan: Plan, found: publishing.Preview) -> HttpResponse:
        form = VersionForm(request.POST, obj=plan)
        form.is_valid()
        request.row_title = plan.name  # type: ignore[attr-defined]  # for the head of the page
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Publish %(plan)s v%(number)s?") % {"plan": plan.name, "number": found.number},
            "opts": self.opts,
            "original": plan,
            "found": found,
            "start": f"{found.terms.effective_from:%Y-%m-%d %H:%M}" if found.terms.effective_from else "",
            "changes": [
                (LABELS[one.field], shown(one.field, one.before), shown(one.field, one.after)) for one in found.changes
            ],
            "before": [(name, form[name].value()) for name in form.fields if name not in ("seen",)],
            "form": form,
            "back": row_url(plan),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/plan_preview.html", context)


@admin.register(PlanVersion)
class PlanVersionAdmin(BillingDesk):
    """Immutable versions: what each said, from when, and who has it."""

    row_title = staticmethod(lambda one: f"{one.plan.name} v{one.number}")
    related = ("plan", "created_by")
    list_display = (
        column(_("version"), lambda one: f"{one.plan.name} v{one.number}", name="version"),
        column(_("state"), standing, name="standing"),
        at("effective_from", _("from"), "short"),
        usd("price_usd", _("price a month")),
        flows("flows_5h", _("Flows in five hours")),
        flows("flows_week", _("in a week")),
        flows("flows_period", _("in a billing period")),
        count("rpm", _("requests a minute")),
        column(_("models"), models_of, number=True, name="models"),
        to("created_by", _("created by")),
    )
    list_filter = ("plan",)
    ordering = ("plan__rank", "-effective_from")
    finds = (("text", "plan__code"), ("number", "pk"))
    search_help_text = _("Plan's code or version's number in the database")
    facts = (
        (
            _("Version"),
            (
                "plan", "number", column(_("state"), standing, name="standing"), "effective_from", "created_at",
                "created_by", "note",
            ),
        ),
        (
            _("Terms"),
            (
                column(_("price a month"), lambda one: ui.usd(one.price_usd), name="price"),
                "flows_5h", "flows_week", "flows_period", "rpm", "anchor_policy", "enforce_period_cap",
                equivalent, models_of,
            ),
        ),
    )  # fmt: skip

    def panels(self, request: HttpRequest, obj: PlanVersion) -> list[Panel]:
        """Against the version before, its models, its subscribers, what staff did."""
        before = PlanVersion.objects.filter(plan=obj.plan, effective_from__lt=obj.effective_from)
        base = before.order_by("-effective_from").first()
        rows: list[tuple[Any, ...]] = []
        if base is not None:
            rows = [
                (LABELS[name], shown(name, getattr(base, name)), shown(name, getattr(obj, name)))
                for name in publishing.COMPARED
                if getattr(base, name) != getattr(obj, name)
            ]
            had, has = set(base.model_slugs), set(obj.model_slugs)
            if had != has:
                rows.append((LABELS["model_slugs"], listed(sorted(had - has)), listed(sorted(has - had))))
        states = Subscription.objects.filter(plan_version=obj).aggregate(
            now=Count("pk", filter=Q(status__in=Subscription.IN_FORCE)), ever=Count("pk")
        )
        return [
            Panel(
                _("Against the version before"),
                (_("term"), _("before, or gone"), _("after, or new")),
                rows,
                empty=_("The plan's first version."),
            ),
            Panel(
                _("Subscribers"),
                (_("now"), _("ever")),
                [(ui.count(states["now"]), ui.count(states["ever"]))],
                numbers=frozenset({0, 1}),
            ),
            Panel(_("Models"), rows=[(listed(obj.model_slugs),)]),
            *audit_panel(request, obj),
        ]
