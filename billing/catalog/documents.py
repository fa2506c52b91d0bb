"""The catalogue document of 02-domain 2.4, read and checked before anything is written. Pure.

Whatever the source (our JSON, the `genai-prices` package, LiteLLM's file), it becomes a `Document`; a mistake is an
InvalidCatalog that names the place, for instance `models[3].prices[0].tiers[1].input_per_1k`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

from django.utils.translation import gettext_lazy as _

from billing.catalog.flow_documents import FactorEntry, RateEntry, read_factor, read_rate
from billing.catalog.images import ImageRule, read_rule
from billing.catalog.normalise import CONVENTIONS
from billing.catalog.plans import PRICE_TYPES, FieldMultiplierSpec, PriceSpec, TierSpec, compile_plan, places_of
from billing.errors import InvalidCatalog, InvalidPrice
from billing.money import parse_decimal

KINDS: Final = ("chat", "embedding", "reranker", "image", "video", "audio")
SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9._:@+-]+)*")
PRICE_PLACES: Final = 14  # of the columns
FACTOR_PLACES: Final = 6
DISCOUNT_PLACES: Final = 4
SECOND_PLACES: Final = 3


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    code: str
    discount: Decimal
    name: str = ""
    active: bool = True
    usage_convention: str = ""


@dataclass(frozen=True, slots=True)
class PriceEntry:
    channel: str
    effective_from: datetime
    spec: PriceSpec
    place: str


@dataclass(frozen=True, slots=True)
class ModelEntry:
    slug: str
    name: str
    vendor: str
    kind: str
    description: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    coming_soon: bool = False
    active: bool = True
    prices: tuple[PriceEntry, ...] = ()
    image_tokens: ImageRule | None = None


@dataclass(frozen=True, slots=True)
class Document:
    channels: tuple[ChannelEntry, ...]
    models: tuple[ModelEntry, ...]
    source: str = ""
    notes: tuple[str, ...] = ()
    only_prices: bool = False  # a price source: it adds models, but what we say of those we have stays
    flow_rates: tuple[RateEntry, ...] = ()
    flow_factors: tuple[FactorEntry, ...] = ()


def read_json(text: str | bytes, *, source: str = "") -> Document:
    """Our own format. Numbers may be written as strings (better) or as JSON numbers, which are read exactly."""
    return read_document(parse_json(text), source=source)


def parse_json(text: str | bytes) -> Any:
    """JSON with exact numbers; a syntax error names its line."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        _refuse("file", _("it is not UTF-8 text"))
    except json.JSONDecodeError as error:
        _refuse(f"line {error.lineno}, column {error.colno}", _("it is not JSON: %(message)s"), message=error.msg)
    except RecursionError:
        _refuse("file", _("it is nested too deeply"))


def read_document(
    body: object, *, source: str = "", notes: tuple[str, ...] = (), only_prices: bool = False
) -> Document:
    top = _Node(body, "file").object({"channels", "models", "flow_rates", "flow_factors"})
    channels = tuple(_channel(entry) for entry in top.get("channels").list())
    codes = [entry.code for entry in channels]
    _once(codes, "channels")
    models = tuple(_model(entry) for entry in top.get("models").list())
    _once([entry.slug for entry in models], "models")
    return Document(
        channels=channels,
        models=models,
        source=source,
        notes=notes,
        only_prices=only_prices,
        flow_rates=tuple(read_rate(entry) for entry in top.get("flow_rates").list()),
        flow_factors=tuple(read_factor(entry) for entry in top.get("flow_factors").list()),
    )


# --- entries ---------------------------------------------------------------------------------------------------------


def _channel(node: _Node) -> ChannelEntry:
    entry = node.object({"code", "name", "discount", "active", "usage_convention"})
    discount = entry.get("discount").decimal(places=DISCOUNT_PLACES, default=Decimal(1))
    if not 0 < discount <= Decimal("1.5"):
        entry.get("discount").refuse(_("it must be above 0 and at most 1.5"))
    return ChannelEntry(
        code=entry.get("code").slug(60),
        name=entry.get("name").text(120, default=""),
        discount=discount,
        active=entry.get("active").flag(default=True),
        usage_convention=entry.get("usage_convention").choice(("", *CONVENTIONS), default=""),
    )


def _model(node: _Node) -> ModelEntry:
    entry = node.object(
        {
            "slug",
            "name",
            "vendor",
            "kind",
            "description",
            "context_window",
            "max_output_tokens",
            "coming_soon",
            "active",
            "prices",
            "image_tokens",
        }
    )
    slug = entry.get("slug").slug(120)
    prices = tuple(_price(price, slug) for price in entry.get("prices").list())
    _once([f"{price.channel} from {price.effective_from.isoformat()}" for price in prices], f"{node.place}.prices")
    return ModelEntry(
        slug=slug,
        name=entry.get("name").text(160, default=slug),
        vendor=entry.get("vendor").text(60, default=slug.partition("/")[0] if "/" in slug else ""),
        kind=entry.get("kind").choice(KINDS, default="chat"),
        description=entry.get("description").text(4000, default=""),
        context_window=entry.get("context_window").count(),
        max_output_tokens=entry.get("max_output_tokens").count(),
        coming_soon=entry.get("coming_soon").flag(default=False),
        active=entry.get("active").flag(default=True),
        prices=prices,
        image_tokens=_image_rule(entry.get("image_tokens")),
    )


def _image_rule(node: _Node) -> ImageRule | None:
    if node.absent:
        return None
    try:
        return read_rule(node.value)
    except InvalidPrice as refusal:
        raise InvalidCatalog("%(place)s: %(problem)s", place=node.place, problem=refusal.detail) from None


def _price(node: _Node, slug: str) -> PriceEntry:
    entry = node.object(
        {
            "channel",
            "type",
            "effective_from",
            "free",
            "input_per_1k",
            "output_per_1k",
            "price",
            "multiples",
            "component_per_1k",
            "tiers",
            "field_multipliers",
            "multiplier_cap",
            "additive",
            "second_step",
            "min_seconds",
        }
    )
    channel = entry.get("channel").slug(60, default="default")
    spec = PriceSpec(
        model=slug,
        channel=channel,
        type=entry.get("type").choice(PRICE_TYPES, default="per_token"),
        free=entry.get("free").flag(default=False),
        input_per_1k=entry.get("input_per_1k").optional_decimal(),
        output_per_1k=entry.get("output_per_1k").optional_decimal(),
        price=entry.get("price").optional_decimal(),
        multiples=entry.get("multiples").decimals(),
        component_per_1k=entry.get("component_per_1k").decimals(),
        tiers=tuple(_tier(tier) for tier in entry.get("tiers").list()),
        field_multipliers=tuple(_multiplier(multiplier) for multiplier in entry.get("field_multipliers").list()),
        multiplier_cap=entry.get("multiplier_cap").optional_decimal(places=FACTOR_PLACES),
        additive=entry.get("additive").flag(default=False),
        second_step=entry.get("second_step").optional_decimal(places=SECOND_PLACES),
        min_seconds=entry.get("min_seconds").optional_decimal(places=SECOND_PLACES),
    )
    try:
        compile_plan(spec)
    except InvalidPrice as refusal:
        raise InvalidCatalog("%(place)s: %(problem)s", place=node.place, problem=refusal.detail) from None
    return PriceEntry(channel=channel, effective_from=entry.get("effective_from").moment(), spec=spec, place=node.place)


def _tier(node: _Node) -> TierSpec:
    entry = node.object({"above_input_tokens", "input_per_1k", "output_per_1k", "component_per_1k"})
    above = entry.get("above_input_tokens").count()
    if above is None:
        entry.get("above_input_tokens").refuse(_("it is missing"))
    return TierSpec(
        above_input_tokens=above,
        input_per_1k=entry.get("input_per_1k").decimal(),
        output_per_1k=entry.get("output_per_1k").decimal(),
        component_per_1k=entry.get("component_per_1k").decimals(),
    )


def _multiplier(node: _Node) -> FieldMultiplierSpec:
    entry = node.object({"field", "equals", "multiplier"})
    return FieldMultiplierSpec(
        field=entry.get("field").text(120),
        equals=entry.get("equals").text(200),
        multiplier=entry.get("multiplier").decimal(places=FACTOR_PLACES),
    )


# --- reading with the place in hand ----------------------------------------------------------------------------------

_ABSENT: Final = object()


def _refuse(place: str, problem: Any, **evidence: Any) -> NoReturn:
    raise InvalidCatalog("%(place)s: %(problem)s", place=place, problem=str(problem) % evidence)


def _no_constant(name: str) -> NoReturn:
    _refuse(name, _("it is not a number"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        names = [name for name, _value in pairs]
        _refuse(next(name for name in names if names.count(name) > 1), _("it is written twice in one object"))
    return body


def _once(names: list[str], place: str) -> None:
    if len(set(names)) != len(names):
        _refuse(place, _("%(name)s is there twice"), name=next(name for name in names if names.count(name) > 1))


class _Node:
    """A value and where it stands."""

    __slots__ = ("place", "value")

    def __init__(self, value: object, place: str) -> None:
        self.value = value
        self.place = place

    def refuse(self, problem: Any, **evidence: Any) -> NoReturn:
        _refuse(self.place, problem, **evidence)

    def object(self, known: set[str]) -> _Node:
        if not isinstance(self.value, Mapping):
            self.refuse(_("an object is expected"))
        unknown = sorted(set(self.value) - known)
        if unknown:
            self.refuse(_("unknown key %(key)s"), key=unknown[0])
        return self

    def get(self, key: str) -> _Node:
        place = key if self.place == "file" else f"{self.place}.{key}"
        return _Node(self.value.get(key, _ABSENT), place)  # type: ignore[attr-defined]

    @property
    def absent(self) -> bool:
        return self.value is _ABSENT or self.value is None

    def list(self) -> list[_Node]:
        if self.absent:
            return []
        if not isinstance(self.value, list):
            self.refuse(_("a list is expected"))
        return [_Node(value, f"{self.place}[{index}]") for index, value in enumerate(self.value)]

    def text(self, limit: int, *, default: str | None = None) -> str:
        if self.absent and default is not None:
            return default
        if not isinstance(self.value, str) or (default is None and not self.value):
            self.refuse(_("text is expected"))
        if len(self.value) > limit or "\x00" in self.value:
            self.refuse(_("it is longer than %(limit)s characters"), limit=limit)
        return self.value

    def slug(self, limit: int, *, default: str | None = None) -> str:
        value = self.text(limit, default=default)
        if not SLUG.fullmatch(value):
            self.refuse(_("letters, digits and . _ : @ + - / are allowed"))
        return value

    def choice(self, choices: tuple[str, ...], *, default: str) -> str:
        value = self.text(40, default=default)
        if value not in choices:
            self.refuse(_("one of %(choices)s is expected"), choices=", ".join(choices))
        return value

    def flag(self, *, default: bool) -> bool:
        if self.absent:
            return default
        if not isinstance(self.value, bool):
            self.refuse(_("true or false is expected"))
        return self.value

    def count(self) -> int | None:
        if self.absent:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value < 2**31:
            self.refuse(_("a whole number is expected"))
        return self.value

    def decimal(self, *, places: int = PRICE_PLACES, default: Decimal | None = None) -> Decimal:
        if self.absent:
            if default is None:
                self.refuse(_("it is missing"))
            return default
        try:
            number = parse_decimal(self.value)
        except ValueError:
            self.refuse(_("a decimal number is expected"))
        if number < 0:
            self.refuse(_("it must not be negative"))
        if number >= 10**6:
            self.refuse(_("it is absurdly large"))
        if places_of(number) > places:
            self.refuse(_("it has more than %(places)s decimal places"), places=places)
        return number

    def optional_decimal(self, *, places: int = PRICE_PLACES) -> Decimal | None:
        return None if self.absent else self.decimal(places=places)

    def decimals(self) -> dict[str, Decimal]:
        if self.absent:
            return {}
        if not isinstance(self.value, Mapping):
            self.refuse(_("an object is expected"))
        return {str(key): _Node(value, f"{self.place}.{key}").decimal() for key, value in self.value.items()}

    def moment(self) -> datetime:
        text = self.text(40)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.refuse(_("a time such as 2026-01-01T00:00:00Z is expected"))
        if moment.tzinfo is None:
            self.refuse(_("a time with its zone is expected"))
        return moment.astimezone(UTC)
