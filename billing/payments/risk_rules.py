"""Our own velocity rules (F028-F032): what each counts, its thresholds, and what it says. Pure.

A rule passes, notes, holds or refuses. *Refuse* is only asked before a page opens: nothing is charged. *Hold* is only
asked of a payment that has arrived: the money is there and waits for a person or the time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

PASS: Final = "pass"  # noqa: S105
NOTE: Final = "note"
HOLD: Final = "hold"
REFUSE: Final = "refuse"

BEFORE: Final = "before"
AFTER: Final = "after"

DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Rule:
    """Thresholds of one rule. `least` is from how many payments on a share means something."""

    name: str
    hold_at: Decimal | None
    refuse_at: Decimal | None
    window_minutes: int
    least: int = 0
    enabled: bool = True


# What an installation starts with; its own thresholds are rows of `RiskRule`.
DEFAULTS: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule("cards_per_device", Decimal(5), Decimal(8), 30 * DAY),  # F028
        Rule("declines_per_email", Decimal(10), Decimal(15), DAY),  # F029
        Rule("new_card", Decimal(1000), None, 60),  # F030: USD of a card first seen less than an hour ago
        Rule("authorisation_rate", Decimal("0.3"), Decimal("0.1"), 30 * DAY, least=20),  # F031: at or below
        Rule("name_mismatch", Decimal(2000), None, 0),  # F032: USD; below it the difference is only noted
        Rule("provider_risk", Decimal(1), None, 0),  # 1 elevated, 2 highest
    )
}
REFUSALS: Final[dict[str, str]] = {
    "cards_per_device": "too_many_cards_on_device",
    "declines_per_email": "many_declines_on_email",
    "authorisation_rate": "low_authorisation_rate",
}
"""Rule -> the text for the customer (`failures`)."""
LEVELS: Final[dict[str, int]] = {"elevated": 1, "highest": 2}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the rules are asked. None: this rule has nothing to look at."""

    amount_usd: Decimal
    cards_on_device: int | None = None
    declines_on_email: int | None = None
    card_age_minutes: int | None = None
    attempts_on_email: int | None = None
    successes_on_email: int | None = None
    holder: str = ""
    known_names: tuple[str, ...] = ()
    provider_level: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule saw and said."""

    stage: str
    rule: str
    verdict: str
    value: str
    threshold: str = ""

    def as_json(self) -> dict[str, str]:
        """For the row."""
        return {
            "stage": self.stage,
            "rule": self.rule,
            "verdict": self.verdict,
            "value": self.value,
            "threshold": self.threshold,
        }


def judge(facts: Facts, rules: Mapping[str, Rule], *, stage: str) -> list[Finding]:
    """Every rule in force that has something to look at, in a fixed order, with its verdict."""
    found = []
    for name, ask in _ASKED.items():
        rule = rules.get(name, DEFAULTS[name])
        if rule.enabled:
            finding = ask(facts, rule, stage)
            if finding is not None:
                found.append(finding)
    return found


def worst(findings: Iterable[Finding]) -> str:
    """The strongest verdict."""
    order = (PASS, NOTE, HOLD, REFUSE)
    return max((finding.verdict for finding in findings), key=order.index, default=PASS)


def refusal(findings: Iterable[Finding]) -> str:
    """Which of our texts explains a refusal; the first rule that refused."""
    return next((REFUSALS.get(one.rule, "blocked") for one in findings if one.verdict == REFUSE), "")


# --- The rules ------------------------------------------------------------------------------------------------------


def _from(value: int | Decimal, rule: Rule, stage: str) -> tuple[str, str]:
    """Verdict and threshold of a number that grows worse as it grows."""
    if stage == BEFORE:
        limit = rule.refuse_at
        return (REFUSE if limit is not None and value >= limit else PASS), _text(limit)
    limit = rule.hold_at
    return (HOLD if limit is not None and value >= limit else PASS), _text(limit)


def _cards(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    if facts.cards_on_device is None:
        return None
    verdict, limit = _from(facts.cards_on_device, rule, stage)
    return Finding(stage, rule.name, verdict, str(facts.cards_on_device), limit)


def _declines(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    if facts.declines_on_email is None:
        return None
    verdict, limit = _from(facts.declines_on_email, rule, stage)
    return Finding(stage, rule.name, verdict, str(facts.declines_on_email), limit)


def _new_card(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    if stage == BEFORE or facts.card_age_minutes is None:
        return None
    young = facts.card_age_minutes < rule.window_minutes
    verdict, limit = _from(facts.amount_usd, rule, stage) if young else (PASS, _text(rule.hold_at))
    return Finding(stage, rule.name, verdict, f"{facts.card_age_minutes} min, {facts.amount_usd:.2f} USD", limit)


def _rate(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    tried, worked = facts.attempts_on_email, facts.successes_on_email
    if tried is None or worked is None or tried < max(rule.least, 1):
        return None
    share = Decimal(worked) / Decimal(tried)
    limit, verdict = (rule.refuse_at, REFUSE) if stage == BEFORE else (rule.hold_at, HOLD)
    said = verdict if limit is not None and share <= limit else PASS
    return Finding(stage, rule.name, said, f"{worked} of {tried}", _text(limit))


def _name(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    if stage == BEFORE or not facts.holder or same_person(facts.holder, facts.known_names):
        return None
    verdict, limit = _from(facts.amount_usd, rule, stage)
    return Finding(stage, rule.name, NOTE if verdict == PASS else verdict, facts.holder, limit)


def _provider(facts: Facts, rule: Rule, stage: str) -> Finding | None:
    if stage == BEFORE or not facts.provider_level:
        return None
    verdict, limit = _from(LEVELS.get(facts.provider_level, 0), rule, stage)
    return Finding(stage, rule.name, verdict, facts.provider_level, limit)


_ASKED: Final[dict[str, Any]] = {
    "cards_per_device": _cards,
    "declines_per_email": _declines,
    "new_card": _new_card,
    "authorisation_rate": _rate,
    "name_mismatch": _name,
    "provider_risk": _provider,
}


def same_person(holder: str, known: Iterable[str]) -> bool:
    """Soft on purpose: one word of at least two letters in common is enough, and a name of no letters says nothing.

    Names are written in any order and script: a card in Latin letters says nothing about a nickname in Chinese.
    """
    on_card = _words(holder)
    ours = [word for name in known for word in _words(name)]
    if not on_card or not ours:
        return True
    if _script(on_card) != _script(ours):
        return True
    joined = "".join(ours)
    return any(word in ours or (len(word) > 3 and word in joined) for word in on_card)


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [word for word in re.findall(r"[^\W\d_]+", plain) if len(word) > 1]


def _script(words: Iterable[str]) -> bool:
    """True for Latin letters."""
    return all(letter.isascii() for word in words for letter in word)


def _text(limit: Decimal | None) -> str:
    return "" if limit is None else f"{limit.normalize():f}"
