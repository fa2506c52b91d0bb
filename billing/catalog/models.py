"""The rate card: models, channels, and their immutable, dated price versions."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.utils.translation import gettext_lazy as _

PRICE: dict[str, Any] = {"max_digits": 24, "decimal_places": 14}
"""Prices per 1K are kept finer than the ledger: they are multiplied before they are rounded."""


class CatalogState(models.Model):
    """One row. `revision` grows with every change of the catalogue, so that processes know when to read it again."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.revision)


class Model(models.Model):
    """An AI model that customers call by its slug, for instance `anthropic/claude-opus-4.6`."""

    class Kind(models.TextChoices):
        CHAT = "chat", _("Chat")
        EMBEDDING = "embedding", _("Embedding")
        RERANKER = "reranker", _("Reranker")
        IMAGE = "image", _("Image")
        VIDEO = "video", _("Video")
        AUDIO = "audio", _("Audio")

    slug = models.CharField(_("slug"), max_length=120, unique=True)
    name = models.CharField(_("name"), max_length=160)
    vendor = models.CharField(_("vendor"), max_length=60)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.CHAT)
    description = models.TextField(_("description"), blank=True)
    context_window = models.PositiveIntegerField(_("context window"), null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(_("largest output"), null=True, blank=True)
    image_tokens = models.JSONField(
        _("tokens of an input image"),
        null=True,
        blank=True,
        help_text=_("A rule by size, used for estimates (F053); none: not known."),
    )
    coming_soon = models.BooleanField(_("coming soon"), default=False)
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        ordering = ("slug",)
        verbose_name = _("model")
        verbose_name_plural = _("models")

    def __str__(self) -> str:
        return self.name


class UsageConvention(models.TextChoices):
    """Does a vendor's input count include cached tokens (C17)?"""

    DOCUMENTED = "", _("As the format documents")
    INCLUSIVE = "inclusive", _("With cached tokens")
    EXCLUSIVE = "exclusive", _("Without cached tokens")


class Channel(models.Model):
    """Where calls are bought; its discount is a factor on the model's price (F043, C20)."""

    code = models.CharField(_("code"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    discount = models.DecimalField(_("discount factor"), max_digits=6, decimal_places=4, default=1)
    usage_convention = models.CharField(
        _("input counts of its vendor"),
        max_length=9,
        choices=UsageConvention,
        blank=True,
        default=UsageConvention.DOCUMENTED,
        help_text=_("Whether the input that the vendor reports includes what was read from or written to a cache."),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        ordering = ("code",)
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(discount__gt=0, discount__lte=models.Value("1.5", models.DecimalField())),
                name="channel_discount",
            ),
            models.CheckConstraint(
                condition=models.Q(usage_convention__in=["", "inclusive", "exclusive"]), name="channel_usage_convention"
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.code


class PriceVersion(models.Model):
    """An immutable, dated edition of one model's price on one channel. Only its end may still be set (by trigger)."""

    class Type(models.TextChoices):
        PER_TOKEN = "per_token", _("per token")
        PER_REQUEST = "per_request", _("per request")
        PER_SECOND = "per_second", _("per second")
        PER_MEGAPIXEL = "per_megapixel", _("per megapixel")
        PER_IMAGE = "per_image", _("per image")

    model = models.ForeignKey(Model, models.PROTECT, related_name="price_versions")
    channel = models.ForeignKey(Channel, models.PROTECT, related_name="price_versions")
    number = models.PositiveIntegerField(_("version"), help_text=_("Counts up for each model and channel."))
    type = models.CharField(_("price type"), max_length=14, choices=Type)
    free = models.BooleanField(_("free"), default=False, help_text=_("A price of zero is free only when this says so."))
    input_per_1k = models.DecimalField(_("input per 1K"), null=True, blank=True, **PRICE)
    output_per_1k = models.DecimalField(_("output per 1K"), null=True, blank=True, **PRICE)
    price = models.DecimalField(_("price per unit"), null=True, blank=True, **PRICE)
    additive = models.BooleanField(_("automatic cache and cache read may both occur (C05)"), default=False)
    multiplier_cap = models.DecimalField(
        _("largest product of field multipliers"), max_digits=12, decimal_places=6, null=True, blank=True
    )
    second_step = models.DecimalField(
        _("seconds are rounded up to"), max_digits=12, decimal_places=3, null=True, blank=True
    )
    min_seconds = models.DecimalField(
        _("fewest seconds billed"), max_digits=12, decimal_places=3, null=True, blank=True
    )
    effective_from = models.DateTimeField(_("from"))
    effective_to = models.DateTimeField(_("until"), null=True, blank=True)
    source = models.CharField(_("source"), max_length=120, blank=True)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        ordering = ("model_id", "channel_id", "-number")
        verbose_name = _("price version")
        verbose_name_plural = _("price versions")
        constraints = [
            models.UniqueConstraint(fields=["model", "channel", "number"], name="price_version_number"),
            models.CheckConstraint(
                condition=models.Q(effective_to__isnull=True) | models.Q(effective_to__gt=models.F("effective_from")),
                name="price_version_interval",
            ),
            models.CheckConstraint(
                condition=models.Q(type="per_token", input_per_1k__gte=0, output_per_1k__gte=0, price__isnull=True)
                | (
                    ~models.Q(type="per_token")
                    & models.Q(price__gte=0, input_per_1k__isnull=True, output_per_1k__isnull=True)
                ),
                name="price_version_shape",
            ),
            # No two versions of one model and channel overlap. Singleton ranges stand in for the extension btree_gist.
            ExclusionConstraint(
                name="price_version_no_overlap",
                expressions=[
                    (
                        models.Func("model_id", "model_id", models.Value("[]"), function="int8range"),
                        RangeOperators.OVERLAPS,
                    ),
                    (
                        models.Func("channel_id", "channel_id", models.Value("[]"), function="int8range"),
                        RangeOperators.OVERLAPS,
                    ),
                    (
                        models.Func(
                            "effective_from",
                            "effective_to",
                            RangeBoundary(),
                            function="tstzrange",
                            output_field=DateTimeRangeField(),
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id}/{self.channel_id} v{self.number}"


class PriceComponent(models.Model):
    """The price of one kind of special token: a multiple of its base price, or a price per 1K (F049, F050)."""

    class Kind(models.TextChoices):
        CACHE_READ = "cache_read", _("Cache read")
        CACHE = "cache", _("Automatic cache")
        CACHE_WRITE_5M = "cache_write_5m", _("Cache write, 5 minutes")
        CACHE_WRITE_1H = "cache_write_1h", _("Cache write, 1 hour")
        INPUT_AUDIO = "input_audio", _("Input audio")
        INPUT_IMAGE = "input_image", _("Input image")
        OUTPUT_AUDIO = "output_audio", _("Output audio")
        OUTPUT_IMAGE = "output_image", _("Output image")
        REASONING = "reasoning", _("Reasoning")

    version = models.ForeignKey(PriceVersion, models.CASCADE, related_name="components")
    component = models.CharField(_("component"), max_length=16, choices=Kind)
    multiple = models.DecimalField(_("multiple"), null=True, blank=True, **PRICE)
    per_1k = models.DecimalField(_("per 1K"), null=True, blank=True, **PRICE)

    class Meta:
        verbose_name = _("price component")
        verbose_name_plural = _("price components")
        constraints = [
            models.UniqueConstraint(fields=["version", "component"], name="price_component_once"),
            models.CheckConstraint(
                condition=models.Q(multiple__gte=0, per_1k__isnull=True)
                | models.Q(multiple__isnull=True, per_1k__gte=0),
                name="price_component_one_of",
            ),
        ]

    def __str__(self) -> str:
        return self.component


class PriceTier(models.Model):
    """Prices for the whole call when its input is longer than `above_input_tokens`."""

    version = models.ForeignKey(PriceVersion, models.CASCADE, related_name="tiers")
    above_input_tokens = models.PositiveBigIntegerField(_("above input tokens"))
    input_per_1k = models.DecimalField(_("input per 1K"), **PRICE)
    output_per_1k = models.DecimalField(_("output per 1K"), **PRICE)
    component_per_1k = models.JSONField(_("component prices per 1K"), default=dict, blank=True)

    class Meta:
        ordering = ("above_input_tokens",)
        verbose_name = _("price tier")
        verbose_name_plural = _("price tiers")
        constraints = [models.UniqueConstraint(fields=["version", "above_input_tokens"], name="price_tier_once")]

    def __str__(self) -> str:
        return f"> {self.above_input_tokens}"


class FieldMultiplier(models.Model):
    """A factor on the price when a request field or header has a value (F051, C28)."""

    version = models.ForeignKey(PriceVersion, models.CASCADE, related_name="field_multipliers")
    field = models.CharField(_("field"), max_length=120)
    equals = models.CharField(_("value"), max_length=200)
    multiplier = models.DecimalField(_("multiplier"), max_digits=12, decimal_places=6)

    class Meta:
        verbose_name = _("field multiplier")
        verbose_name_plural = _("field multipliers")
        constraints = [
            models.UniqueConstraint(fields=["version", "field", "equals"], name="field_multiplier_once"),
            models.CheckConstraint(condition=models.Q(multiplier__gt=0), name="field_multiplier_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.field} = {self.equals}"
