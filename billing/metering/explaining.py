"""Why a call was dear, in sentences (F107): model choice, token counting, cache billing. Pure.

A sentence appears exactly when it explains a good part of the price; the thresholds say what that means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from django.utils.translation import gettext_lazy as _

from billing.catalog.plans import compile_plan
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import INPUT_COMPONENTS
from billing.money import EXACT
from config.templatetags.ui import count, number, percent, usd6_text

# Below a cent at list price nobody asks, and nothing but "it is free" is said.
WORTH_EXPLAINING: Final = Decimal("0.01")
# The model explains the price when the same call costs at least twice what it costs on the median model of its kind.
DEAR_MODEL: Final = Decimal(2)
# A median of fewer models than these says little about a kind.
FEWEST_PEERS: Final = 3
# The context explains the price when the input is at least four fifths of it ...
CONTEXT_SHARE: Final = Decimal("0.8")
# ... and longer than what a person types or pastes into one message.
LARGE_CONTEXT: Final = 20_000
# Reasoning explains the price when it is at least half of the output's tokens ...
REASONING_OF_OUTPUT: Final = Decimal("0.5")
# ... and a quarter of the price, as images must be, too.
NOTABLE_SHARE: Final = Decimal("0.25")
# Writing to the cache is mentioned from a tenth of the price on, because people expect a cache to make things cheaper.
CACHE_WRITE_SHARE: Final = Decimal("0.1")
# Prompts shorter than this are not worth caching, and some providers do not cache them.
CACHEABLE_TOKENS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Peer:
    """The same call on another model of the kind."""

    slug: str
    name: str
    vendor: str
    list_price: Decimal


@dataclass(frozen=True, slots=True)
class Check:
    """One reason. `code` is for programs and does not change; `topic` is one of F107's three, or `free`."""

    code: str
    topic: str
    text: str


def checks(sheet: Sheet, *, vendor: str, peers: Iterable[Peer] = (), read_nearby: bool = False) -> list[Check]:
    """What explains the price of this call. `read_nearby`: another call of the same key and model, at most an hour
    away, read from the cache."""
    if sheet.plan.spec.free:
        return [
            Check(
                "free_model",
                "free",
                str(_("The model is free: this call cost nothing. What it said is billed where it is sent on: as "
                "context of the next call to a paid model.")),
            )
        ]  # fmt: skip
    if sheet.list_price < WORTH_EXPLAINING:
        return []
    found = [
        _model_choice(sheet, vendor, list(peers)),
        _large_context(sheet),
        _long_context_prices(sheet),
        _reasoning(sheet),
        _images(sheet),
        _cache_writes(sheet),
        _cache_miss(sheet) if read_nearby else None,
    ]
    return [check for check in found if check is not None]


def may_have_missed(sheet: Sheet) -> bool:
    """Long enough to be cached, nothing read, and reading is cheaper here: only then is it worth asking for others."""
    usage, plan = sheet.usage, sheet.plan
    if plan.base is None or usage.input_tokens < CACHEABLE_TOKENS or usage.cache_read_tokens or usage.cache_tokens:
        return False
    rates = plan.prices_at(usage.input_tokens).rates
    return rates["cache_read"].cost < rates["input"].cost and sheet.list_price >= WORTH_EXPLAINING


def median_of(peers: list[Peer]) -> Peer:
    """The middle one by price; of two the cheaper."""
    return sorted(peers, key=lambda peer: (peer.list_price, peer.slug))[(len(peers) - 1) // 2]


# --- model choice ----------------------------------------------------------------------------------------------------


def _model_choice(sheet: Sheet, vendor: str, peers: list[Peer]) -> Check | None:
    if len(peers) < FEWEST_PEERS:
        return None
    median = median_of(peers)
    if not median.list_price or sheet.list_price < DEAR_MODEL * median.list_price:
        return None
    told = {
        "price": usd6_text(sheet.list_price),
        "times": number(sheet.list_price / median.list_price, 1),
        "median": usd6_text(median.list_price),
        "n": count(len(peers)),
    }
    own = [peer for peer in peers if peer.vendor == vendor and peer.list_price < sheet.list_price]
    if not own:
        text = _(
            "Model choice: at list price this call is %(price)s, %(times)s times the %(median)s that it costs on the "
            "median of %(n)s other models of this kind."
        )
        return Check("model_choice", "model_choice", text % told)
    cheapest = min(own, key=lambda peer: (peer.list_price, peer.slug))
    text = _(
        "Model choice: at list price this call is %(price)s, %(times)s times the %(median)s that it costs on the "
        "median of %(n)s other models of this kind. With %(name)s of the same vendor it would be %(own)s."
    )
    return Check(
        "model_choice", "model_choice", text % (told | {"name": cheapest.name, "own": usd6_text(cheapest.list_price)})
    )


# --- token counting --------------------------------------------------------------------------------------------------


def _amount(sheet: Sheet, *items: str) -> Decimal:
    return sum((line.amount for line in sheet.lines if line.item in items), Decimal(0))


def _share(sheet: Sheet, amount: Decimal) -> Decimal:
    exact = sheet.exact_list_price
    return amount / exact if exact else Decimal(0)


def _large_context(sheet: Sheet) -> Check | None:
    share = _share(sheet, _amount(sheet, "input", *INPUT_COMPONENTS))
    if sheet.plan.base is None or sheet.usage.input_tokens < LARGE_CONTEXT or share < CONTEXT_SHARE:
        return None
    text = _(
        "Token counting: %(share)s of the price is input, %(n)s tokens. Instructions, files, tools and the whole "
        "conversation so far are sent, and counted, with every call."
    )
    return Check(
        "large_context", "token_counting", text % {"share": percent(share), "n": count(sheet.usage.input_tokens)}
    )


def _long_context_prices(sheet: Sheet) -> Check | None:
    above = next((above for above, _prices in sheet.plan.tiers if sheet.usage.input_tokens > above), None)
    if above is None:
        return None
    ordinary = rate(compile_plan(replace(sheet.plan.spec, tiers=())), sheet.usage)
    more = sheet.exact_list_price - EXACT.multiply(ordinary.exact_list_price, sheet.multiplier)
    if more <= 0:
        return None
    text = _(
        "Token counting: with more than %(above)s input tokens the long-context prices hold for the whole call. They "
        "added %(more)s to the list price."
    )
    return Check("long_context", "token_counting", text % {"above": count(above), "more": usd6_text(more)})


def _reasoning(sheet: Sheet) -> Check | None:
    usage = sheet.usage
    if not usage.reasoning_tokens or usage.reasoning_tokens < REASONING_OF_OUTPUT * usage.output_tokens:
        return None
    share = _share(sheet, _amount(sheet, "reasoning"))
    if share < NOTABLE_SHARE:
        return None
    text = _(
        "Token counting: %(n)s of the %(all)s output tokens are reasoning, which is billed though the answer does not "
        "show it. It is %(share)s of the price."
    )
    told = {"n": count(usage.reasoning_tokens), "all": count(usage.output_tokens), "share": percent(share)}
    return Check("reasoning", "token_counting", text % told)


def _images(sheet: Sheet) -> Check | None:
    share = _share(sheet, _amount(sheet, "input_image"))
    if sheet.plan.base is None or share < NOTABLE_SHARE:
        return None
    text = _(
        "Token counting: the images sent count as %(n)s tokens, by their resolution. They are %(share)s of the price; "
        "smaller images count less."
    )
    told = {"n": count(sheet.usage.input_image_tokens), "share": percent(share)}
    return Check("image_inputs", "token_counting", text % told)


# --- cache billing ---------------------------------------------------------------------------------------------------


def _cache_writes(sheet: Sheet) -> Check | None:
    usage = sheet.usage
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if sheet.plan.base is None or not written:
        return None
    rates = sheet.plan.prices_at(usage.input_tokens).rates
    amount = _amount(sheet, "cache_write_5m", "cache_write_1h")
    more = amount - written * rates["input"].cost * sheet.multiplier
    if more <= 0 or _share(sheet, amount) < CACHE_WRITE_SHARE:
        return None
    text = _(
        "Cache billing: %(n)s tokens were not in the cache yet and were written to it. Writing costs more than plain "
        "input, here %(more)s more at list price; it pays off when later calls read them."
    )
    return Check("cache_write", "cache_billing", text % {"n": count(written), "more": usd6_text(more)})


def _cache_miss(sheet: Sheet) -> Check | None:
    if not may_have_missed(sheet):
        return None
    text = _(
        "Cache billing: none of the %(n)s input tokens were read from the cache, while other calls with this key and "
        "model within the hour did read from it. The prompt's beginning differed, or the cache had expired."
    )
    return Check("cache_miss", "cache_billing", text % {"n": count(sheet.usage.input_tokens)})
