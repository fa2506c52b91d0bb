"""What a plan promises: plans and their immutable versions, and the Flow class that an account is of (F060-F068)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.catalog.models_flows import FlowFactor, FlowRate
from billing.metering.models import FLOWS

FlowClass = FlowRate.FlowClass


class Plan(models.Model):
    """One of the published plans. What it costs and promises stands in its versions."""

    code = models.CharField(_("code"), max_length=8, primary_key=True, choices=FlowFactor.PlanCode)
    name = models.CharField(_("name"), max_length=40)
    rank = models.PositiveSmallIntegerField(_("rank"), unique=True, help_text=_("A higher rank is an upgrade."))

    class Meta:
        ordering = ("rank",)
        verbose_name = _("plan")
        verbose_name_plural = _("plans")

    def __str__(self) -> str:
        return self.name


class PlanVersion(models.Model):
    """A plan's price, quotas, requests a minute and models from a moment on. Append-only: a change is a new version.

    Subscribers keep the version that they subscribed to until they change their plan; the Free plan, which nobody
    subscribes to, is always the version in force.
    """

    class AnchorPolicy(models.TextChoices):
        FIRST_REQUEST = "first_request", _("First request")
        GRID = "grid", _("Grid from the period's start")

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="versions", verbose_name=_("plan"))
    number = models.PositiveIntegerField(_("version"))
    price_usd = models.DecimalField(_("price a month"), max_digits=12, decimal_places=2)
    flows_5h = models.DecimalField(_("Flows in five hours"), **FLOWS)
    flows_week = models.DecimalField(_("Flows in a week"), **FLOWS)
    flows_period = models.DecimalField(_("Flows in a billing period"), **FLOWS)
    rpm = models.PositiveIntegerField(_("requests a minute"))
    model_slugs = ArrayField(models.CharField(max_length=120), verbose_name=_("models"))
    anchor_policy = models.CharField(
        _("windows begin"), max_length=14, choices=AnchorPolicy, default=AnchorPolicy.FIRST_REQUEST
    )
    enforce_period_cap = models.BooleanField(
        _("enforce the period's cap"),
        default=True,
        help_text=_("Off: the period is counted and refuses nothing (C07)."),
    )
    effective_from = models.DateTimeField(_("from"))
    created_at = models.DateTimeField(_("created"))
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        ordering = ("plan__rank", "-number")
        verbose_name = _("plan version")
        verbose_name_plural = _("plan versions")
        constraints = [
            models.UniqueConstraint(fields=["plan", "number"], name="plan_version_number"),
            models.UniqueConstraint(fields=["plan", "effective_from"], name="plan_version_once"),
            models.CheckConstraint(
                condition=Q(price_usd__gte=0, flows_5h__gt=0, flows_week__gt=0, flows_period__gt=0, rpm__gt=0),
                name="plan_version_amounts",
            ),
            models.CheckConstraint(
                condition=Q(anchor_policy__in=["first_request", "grid"]), name="plan_version_anchor"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_id} v{self.number}"


class PlanPrice(models.Model):
    """What a plan version is called at the payment provider; made there when somebody first subscribes to it."""

    version = models.OneToOneField(PlanVersion, models.PROTECT, primary_key=True, related_name="provider_price")
    price_id = models.CharField(_("price"), max_length=255, unique=True)
    product_id = models.CharField(_("product"), max_length=255)
    created_at = models.DateTimeField(_("created"))

    def __str__(self) -> str:
        return self.price_id


class FlowStanding(models.Model):
    """The Flow class of an account; no row is `standard` (F064, F065, C25)."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="flow_standing")
    flow_class = models.CharField(_("Flow class"), max_length=12, choices=FlowClass, default=FlowClass.STANDARD)
    since = models.DateTimeField(_("since"))
    reason = models.CharField(_("reason"), max_length=500)
    changed_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        verbose_name = _("Flow class")
        verbose_name_plural = _("Flow classes")
        constraints = [
            models.CheckConstraint(
                condition=Q(flow_class__in=["standard", "insider", "restricted"]), name="flow_standing_class"
            )
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.flow_class}"
