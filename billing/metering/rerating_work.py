"""The work of a correction, one short piece a call: preview, apply, reverse.

The rows are the job. A piece is one transaction (one an account when money moves, under its wallet's lock), and the
cursor moves in it, so that a worker may die anywhere and the next goes on where the last one committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Sum

from billing.books import credits, ledger
from billing.books.models import JournalEntry
from billing.books.settlement import ZERO, draws_of, revive, settle, within
from billing.catalog.plans import Plan
from billing.catalog.rating import Sheet
from billing.catalog.stored import store
from billing.metering.models_rerating import ChargeAdjustment, CorrectedAccount, Correction
from billing.metering.rerating import LOOK_AGAIN, plan_of
from billing.metering.rerating_calls import Call, again, calls_of, owed
from billing.metering.rerating_preview import preview_some

State = Correction.State
ENTRY_CALLS: Final = 5_000  # the calls of one entry; the account's own calls wait while it is written


def work(correction_id: UUID, *, now: datetime) -> bool:
    """Do one piece. True when there is more to do. Safe to call at any time, from any number of workers."""
    row = Correction.objects.select_related("model").filter(pk=correction_id, due_at__isnull=False).first()
    if row is None:
        return False
    if row.state == State.PREVIEWING:
        return preview_some(correction_id, now)
    if row.state in (State.APPROVED, State.APPLYING):
        return _apply(row, now)
    return _reverse(row, now)


# --- Apply -----------------------------------------------------------------------------------------------------------
class Change(NamedTuple):
    """A call whose charge changes."""

    call: Call
    before: Decimal
    after: Decimal
    sheet: Sheet


def _apply(row: Correction, now: datetime) -> bool:
    """Some accounts, or a stretch of one that has very many calls."""
    if row.state == State.APPROVED:
        _move(row.pk, State.APPROVED, State.APPLYING, now)
    plan, looked_at = plan_of(row), 0
    while looked_at < ENTRY_CALLS:
        account = row.by_account.filter(applied=False).order_by("account_id").first()
        if account is None:
            _finish(row.pk, State.APPLYING, State.APPLIED, now)
            return False
        looked_at += max(1, apply_next(row, account, plan, now=now))
    Correction.objects.filter(pk=row.pk, due_at__isnull=False).update(due_at=now + LOOK_AGAIN)
    return True


def apply_next(row: Correction, account: CorrectedAccount, plan: Plan, *, now: datetime) -> int:
    """The account's next calls: one entry, their adjustments, and the cursor behind them. How many were looked at.

    Rating needs no lock, since a record never changes; what the calls cost now is read under it.
    """
    calls = calls_of(row, [account], ENTRY_CALLS)
    rated = [(call, sheet) for call in calls if isinstance(sheet := again(call, plan), Sheet)]
    with transaction.atomic():
        ledger.lock_wallet(account.account_id)
        fresh = CorrectedAccount.objects.get(pk=account.pk)
        state = Correction.objects.values_list("state", flat=True).get(pk=row.pk)
        if fresh.applied or fresh.cursor_id != account.cursor_id or state != State.APPLYING:
            return 0  # another worker was here
        layers = _layers(account.account_id, [call for call, _sheet in rated])
        changes = []
        for call, sheet in rated:
            current = sum((end - start for _entry, start, end in layers[call.record]), ZERO)
            after = owed(row.favour, current, sheet.charge)
            if after != current:
                changes.append(Change(call, current, after, sheet))
        if changes:
            _adjust(row, fresh, changes, layers, now)
        if len(calls) < ENTRY_CALLS:
            fresh.applied = True
        else:
            fresh.cursor_at, fresh.cursor_id = calls[-1].at, calls[-1].record
        fresh.save()
    return len(calls)


Stretch = tuple[UUID, Decimal, Decimal]  # of what an entry drew, from and to


def _layers(account_id: UUID, calls: Iterable[Call]) -> dict[UUID, list[Stretch]]:
    """What each call costs now, as stretches of what entries drew: the record's own, and those of later adjustments.

    Giving back takes from the end, so what is left is what was drawn first.
    """
    found: dict[UUID, list[Stretch]] = {
        call.record: [(call.entry, call.charge_from, call.charge_from + call.charge)]
        if call.entry is not None and call.charge
        else []
        for call in calls
    }
    earlier = ChargeAdjustment.objects.filter(account_id=account_id, record_id__in=list(found))
    for record, delta, entry, start in earlier.order_by("entry__seq").values_list(
        "record_id", "delta", "entry_id", "drawn_from"
    ):
        if delta > 0:
            found[record].append((entry, start, start + delta))
        else:
            _pop(found[record], -delta)
    return found


def _pop(stack: list[Stretch], amount: Decimal) -> list[Stretch]:
    """Take this much from the end; the stretches that it was."""
    taken = []
    while amount:
        entry, start, end = stack.pop()
        cut = max(start, end - amount)
        if cut > start:
            stack.append((entry, start, cut))
        taken.append((entry, cut, end))
        amount -= end - cut
    return taken


def _adjust(
    row: Correction, account: CorrectedAccount, changes: list[Change], layers: dict[UUID, list[Stretch]], now: datetime
) -> None:
    """Under the wallet's lock: one entry, and a row for each call."""
    credits.expire_due([account.account_id], now=now)
    back = [
        stretch
        for change in reversed(changes)
        if change.after < change.before
        for stretch in _pop(layers[change.call.record], change.before - change.after)
    ]
    draws = draws_of((drawn_by for drawn_by, _start, _end in back), account.account_id)
    give: dict[UUID, Decimal] = defaultdict(Decimal)
    for drawn_by, start, end in back:
        for place, amount in within(draws[drawn_by], start, end):
            give[place] += amount
    draw = sum((one.after - one.before for one in changes if one.after > one.before), ZERO)
    given = sum(give.values(), ZERO)
    number = account.chunks + 1
    entry = _post(row, account, key_of(row.pk, account.account_id, number), give, draw, len(changes), now)
    rows, drawn = [], ZERO
    for change in changes:
        delta = change.after - change.before
        rows.append(
            ChargeAdjustment(
                account_id=account.account_id,
                record_id=change.call.record,
                correction_id=row.pk,
                entry_id=entry.pk,
                charge_before=change.before,
                charge_after=change.after,
                delta=delta,
                drawn_from=drawn if delta > 0 else ZERO,
                list_price_after=change.sheet.list_price,
                sheet=orjson.loads(store(change.sheet)),
                at=now,
            )
        )
        drawn += max(delta, ZERO)
    ChargeAdjustment.objects.bulk_create(rows, batch_size=1000)
    account.chunks = number
    account.applied_records += len(changes)
    account.applied_given += given
    account.applied_charged += draw


def key_of(correction_id: UUID, account_id: UUID, number: int) -> str:
    """What names an entry of a correction, for ever."""
    return f"correction:{correction_id}:{account_id}" + (f":{number}" if number > 1 else "")


def _post(
    row: Correction,
    account: CorrectedAccount,
    key: str,
    give: dict[UUID, Decimal],
    draw: Decimal,
    calls: int,
    now: datetime,
    *,
    first_from: Iterable[tuple[UUID, Decimal]] = (),
    reversal: bool = False,
) -> JournalEntry:
    wallet = ledger.lock_wallet(account.account_id)  # as it is after what expired
    settled = settle(wallet, give=give, draw=draw, first_from=first_from, now=now)
    entry = ledger.post(
        JournalEntry.Kind.USAGE_ADJUSTMENT,
        *settled.lines,
        account_id=account.account_id,
        key=key,
        now=now,
        meta={"correction": str(row.pk), "calls": calls, "model": row.model.name, "reversal": reversal},
    )
    revive(settled, account.account_id, now=now)
    return entry


# --- Reverse ---------------------------------------------------------------------------------------------------------
def _reverse(row: Correction, now: datetime) -> bool:
    looked_at = 0
    while looked_at < ENTRY_CALLS:
        account = row.by_account.filter(reversed=False).order_by("account_id").first()
        if account is None:
            _finish(row.pk, State.REVERSING, State.REVERSED, now)
            return False
        looked_at += max(1, reverse_next(row, account, now=now))
    Correction.objects.filter(pk=row.pk, due_at__isnull=False).update(due_at=now + LOOK_AGAIN)
    return True


def reverse_next(row: Correction, account: CorrectedAccount, *, now: datetime) -> int:
    """Unwind the account's last entry that is not unwound yet: what was given back is drawn from where it went, then
    from other credit, then from the overdraft; what was charged more goes back to where it came from."""
    with transaction.atomic():
        ledger.lock_wallet(account.account_id)
        fresh = CorrectedAccount.objects.get(pk=account.pk)
        state = Correction.objects.values_list("state", flat=True).get(pk=row.pk)
        if fresh.reversed or fresh.unwound != account.unwound or state != State.REVERSING:
            return 0  # another worker was here
        number = fresh.chunks - fresh.unwound
        done = 0
        if number:
            done = _unwind(row, fresh, key_of(row.pk, account.account_id, number), now)
            fresh.unwound += 1
        fresh.reversed = fresh.unwound == fresh.chunks
        fresh.save(update_fields=["unwound", "reversed"])
    return done


def _unwind(row: Correction, account: CorrectedAccount, key: str, now: datetime) -> int:
    credits.expire_due([account.account_id], now=now)
    entry = JournalEntry.objects.get(account_id=account.account_id, key=key)
    rows = list(ChargeAdjustment.objects.filter(account_id=account.account_id, entry_id=entry.pk).order_by("record_id"))
    charged = sum((one.delta for one in rows if one.delta > 0), ZERO)
    give: dict[UUID, Decimal] = defaultdict(Decimal)
    for place, amount in within(draws_of([entry.pk], account.account_id)[entry.pk], ZERO, charged):
        give[place] += amount
    draw = -sum((one.delta for one in rows if one.delta < 0), ZERO)
    went = [
        (line.ledger_id, line.amount)
        for line in reversed(entry.postings.filter(account_id=account.account_id, side=-1).order_by("line"))
    ]
    undone = _post(row, account, f"{key}:reversed", give, draw, len(rows), now, first_from=went, reversal=True)
    drawn, back = ZERO, []
    for one in rows:
        back.append(
            ChargeAdjustment(
                account_id=one.account_id,
                record_id=one.record_id,
                correction_id=row.pk,
                reversal=True,
                entry_id=undone.pk,
                charge_before=one.charge_after,
                charge_after=one.charge_before,
                delta=-one.delta,
                drawn_from=drawn if one.delta < 0 else ZERO,
                at=now,
            )
        )
        drawn += max(-one.delta, ZERO)
    ChargeAdjustment.objects.bulk_create(back, batch_size=1000)
    return len(rows)


# --- pieces ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def _move(correction_id: UUID, was: Correction.State, to: Correction.State, now: datetime) -> None:
    row = Correction.objects.select_for_update(of=("self",), no_key=True).get(pk=correction_id)
    if row.state == was:
        row.move_to(to)
        row.due_at = now + LOOK_AGAIN
        row.save()


@transaction.atomic
def _finish(correction_id: UUID, was: Correction.State, to: Correction.State, now: datetime) -> None:
    """The last account is done: what was done in all. Once, whoever comes first."""
    row = Correction.objects.select_for_update(of=("self",), no_key=True).get(pk=correction_id)
    if row.state != was:
        return
    if to == State.APPLIED:
        names = ("applied_records", "applied_given", "applied_charged")
        sums = row.by_account.aggregate(**{name: Sum(name) for name in names})
        for name in names:
            setattr(row, name, sums[name] or 0)
        row.applied_at = now
    else:
        row.reversed_at = now
    row.move_to(to)
    row.due_at = None
    row.save()
