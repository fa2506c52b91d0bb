"""Publishing a plan's next version: checked, compared with what it follows, written once and never changed (F066-F068).

Subscribers keep the version that they subscribed to until they change their plan; the Free plan, which nobody
subscribes to, is at once the new version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import orjson
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog.models import Model
from billing.catalog.plans import places_of, plain
from billing.errors import Conflict, InvalidRequest, NotFound
from subscriptions import plan_findings, plans
from subscriptions.models import Plan, PlanVersion
from subscriptions.plan_findings import Finding

FREE: Final = plans.FREE
FARTHEST: Final = timedelta(days=400)
LARGEST_PRICE: Final = Decimal(1_000_000)
LARGEST_QUOTA: Final = Decimal(10**12)
MOST_RPM: Final = 1_000_000
QUOTAS: Final = ("flows_5h", "flows_week", "flows_period")
COMPARED: Final = ("price_usd", *QUOTAS, "rpm", "anchor_policy", "enforce_period_cap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a version says. Price in USD a month, quotas in Flows; `effective_from` None: from the publishing on."""

    price_usd: Decimal
    flows_5h: Decimal
    flows_week: Decimal
    flows_period: Decimal
    rpm: int
    model_slugs: tuple[str, ...]
    anchor_policy: str = PlanVersion.AnchorPolicy.FIRST_REQUEST
    enforce_period_cap: bool = True
    effective_from: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A term before and after."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Preview:
    """What publishing would do. `seen` names exactly this: the terms and the version that they were compared with."""

    plan: Plan
    number: int
    base: PlanVersion
    terms: Terms
    changes: list[Change]
    added: list[str]
    removed: list[str]
    findings: list[Finding]
    seen: str


def terms_of(version: PlanVersion) -> Terms:
    """A version's terms, to begin the next one with."""
    told = {one.name: getattr(version, one.name) for one in fields(Terms) if one.name not in ("model_slugs", "note")}
    return Terms(**(told | {"effective_from": None}), model_slugs=tuple(version.model_slugs))


def preview(code: str, terms: Terms, *, now: datetime) -> Preview:
    """Check the terms and compare them with the version that they would follow. Changes nothing.

    Raises NotFound, InvalidRequest naming the field, or Conflict.
    """
    plan = Plan.objects.filter(pk=code).first()
    if plan is None:
        raise NotFound
    terms = _checked(plan, terms, now)
    versions = list(PlanVersion.objects.filter(plan=plan).order_by("effective_from"))
    start = terms.effective_from or now
    if any(one.effective_from == start for one in versions):
        raise Conflict(_("A version of this plan begins at that moment already."))
    before = [one for one in versions if one.effective_from < start]
    base = before[-1] if before else versions[0]
    had, has = set(base.model_slugs), set(terms.model_slugs)
    changes = [
        Change(name, getattr(base, name), getattr(terms, name))
        for name in COMPARED
        if getattr(base, name) != getattr(terms, name)
    ]
    if not changes and had == has:
        raise Conflict(_("Nothing changes: that is what the version before says."))
    removed = sorted(had - has)
    findings = plan_findings.look(
        plan, base, terms, removed=removed, added=sorted(has - had), start=start,
        later=next((one for one in versions if one.effective_from > start), None), now=now,
    )  # fmt: skip
    number = max(one.number for one in versions) + 1
    return Preview(plan, number, base, terms, changes, sorted(has - had), removed, findings, _seal(terms, base, number))


@transaction.atomic
def publish(code: str, terms: Terms, *, actor: User, reason: str, seen: str, now: datetime) -> PlanVersion:
    """Write the version that was previewed. `seen` is the preview's: what changed meanwhile is a Conflict."""
    if not reason.strip():
        raise InvalidRequest(_("Say why."), field="reason")
    # One after the other: numbers follow each other, and two versions never begin together.
    Plan.objects.select_for_update().filter(pk=code).first()
    found = preview(code, terms, now=now)
    if seen != found.seen:
        raise Conflict(_("The plan or the terms have changed since the preview. Look at them once more."))
    terms = found.terms
    version = PlanVersion.objects.create(
        plan=found.plan,
        number=found.number,
        created_at=now,
        created_by=actor,
        effective_from=terms.effective_from or now,
        note=terms.note,
        model_slugs=list(terms.model_slugs),
        **{name: getattr(terms, name) for name in COMPARED},
    )
    audit.record(
        actor=actor,
        action="plan_version_published",
        subject=version,
        reason=reason.strip(),
        before={change.field: _told(change.before) for change in found.changes} | _models(removed=found.removed),
        after={change.field: _told(change.after) for change in found.changes}
        | _models(added=found.added)
        | {"plan": code, "number": version.number, "effective_from": version.effective_from.isoformat()},
        now=now,
    )
    transaction.on_commit(plans.forget)
    return version


# --- Checks ----------------------------------------------------------------------------------------------------------


def _checked(plan: Plan, terms: Terms, now: datetime) -> Terms:
    """The terms in order, or InvalidRequest that names the field."""
    _amount(terms.price_usd, "price_usd", places=2, most=LARGEST_PRICE)
    if (plan.code == FREE) != (terms.price_usd == 0):
        # Nobody is billed for Free, and a subscription of nothing has no period to renew.
        raise InvalidRequest(_("The Free plan costs nothing, and every other plan something."), field="price_usd")
    for name in QUOTAS:
        _amount(getattr(terms, name), name, places=6, most=LARGEST_QUOTA)
        if getattr(terms, name) <= 0:
            raise InvalidRequest(_("A quota is above zero."), field=name)
    if isinstance(terms.rpm, bool) or not 0 < terms.rpm <= MOST_RPM:
        raise InvalidRequest(_("Requests a minute are at least one."), field="rpm")
    if terms.anchor_policy not in PlanVersion.AnchorPolicy.values:
        raise InvalidRequest(_("There is no such way to begin windows."), field="anchor_policy")
    start = terms.effective_from
    if start is not None and not now <= start <= now + FARTHEST:
        raise InvalidRequest(
            _("The start must not lie in the past, and at most 400 days ahead."), field="effective_from"
        )
    if len(terms.note) > 200:
        raise InvalidRequest(_("The note has 200 characters at most."), field="note")
    slugs = _known(terms.model_slugs)
    return Terms(
        **{one.name: getattr(terms, one.name) for one in fields(Terms) if one.name not in ("model_slugs", "note")},
        model_slugs=slugs,
        note=terms.note.strip(),
    )


def _known(slugs: Sequence[str]) -> tuple[str, ...]:
    """In order and once each; every one in the catalogue."""
    wanted = tuple(sorted({slug.strip() for slug in slugs if slug.strip()}))
    if not wanted:
        raise InvalidRequest(_("A plan has at least one model."), field="model_slugs")
    known = set(Model.objects.filter(slug__in=wanted).values_list("slug", flat=True))
    unknown = [slug[:120] for slug in wanted if slug not in known]
    if unknown:
        raise InvalidRequest(
            _("The catalogue does not know: %(unknown)s"), field="model_slugs", unknown=", ".join(unknown[:10])
        )
    return wanted


def _amount(value: Decimal, name: str, *, places: int, most: Decimal) -> None:
    if not isinstance(value, Decimal):
        raise TypeError(f"{name} is a Decimal, not {type(value).__name__}")
    if not value.is_finite() or value < 0 or value > most or places_of(value) > places:
        raise InvalidRequest(
            _("An amount from 0 to %(most)s with at most %(places)s places."),
            field=name,
            most=plain(most),
            places=places,
        )


def _seal(terms: Terms, base: PlanVersion, number: int) -> str:
    told = {one.name: _told(getattr(terms, one.name)) for one in fields(Terms)}
    return sha256(orjson.dumps([base.pk, number, told], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _told(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _models(**lists: list[str]) -> dict[str, list[str]]:
    return {f"models_{name}": slugs for name, slugs in lists.items() if slugs}
