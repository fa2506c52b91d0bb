"""The preview of a correction: every call rated again, summed by account. The books are not touched."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Sum

from billing.books.settlement import ZERO
from billing.metering.models_rerating import CorrectedAccount, Correction
from billing.metering.rerating import LOOK_AGAIN, plan_of
from billing.metering.rerating_calls import Call, again, calls_of, owed

State = Correction.State
PREVIEW_CALLS: Final = 25_000  # a second or two of reading, so that other tasks of the worker do not wait long

_COUNT: Final = """
  INSERT INTO billing_correctedaccount (correction_id, account_id, calls, records, adjusted, left_out, before, after, given, charged,
    previewed, applied, reversed, chunks, unwound, applied_records, applied_given, applied_charged)
  SELECT %(correction)s, account_id, count(*), 0, 0, 0, 0, 0, 0, 0, false, false, false, 0, 0, 0, 0, 0
  FROM billing_usagerecord
  WHERE model_id = %(model)s AND channel_id = %(channel)s
    AND authorized_at >= %(since)s AND authorized_at < %(until)s AND created_at <= %(as_of)s
  GROUP BY account_id"""  # noqa: E501
_FOUND: Final = """
  UPDATE billing_correctedaccount c SET records = c.records + f.records, adjusted = c.adjusted + f.adjusted, left_out = c.left_out + f.left_out,
    before = c.before + f.before, after = c.after + f.after, given = c.given + f.given, charged = c.charged + f.charged
  FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])
    AS f(account_id, records, adjusted, left_out, before, after, given, charged)
  WHERE c.correction_id = %s AND c.account_id = f.account_id"""  # noqa: E501


@dataclass(slots=True)
class _Of:
    records: int = 0
    adjusted: int = 0
    left_out: int = 0
    before: Decimal = ZERO
    after: Decimal = ZERO
    given: Decimal = ZERO
    charged: Decimal = ZERO


@transaction.atomic
def preview_some(correction_id: UUID, now: datetime) -> bool:
    """Rate some calls. One worker at a time; another that comes finds the row taken and leaves."""
    rows = Correction.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
    row = rows.select_related("model").filter(pk=correction_id, state=State.PREVIEWING).first()
    if row is None:
        return False
    if not row.counted:
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, {"correction": row.pk, "model": row.model_id, "channel": row.channel_id,
                                    "since": row.since, "until": row.until, "as_of": row.as_of})  # fmt: skip
        row.counted = True
    group: list[CorrectedAccount] = []
    size = 0
    for one in row.by_account.filter(previewed=False).order_by("account_id")[:2000]:
        if group and size + one.calls > PREVIEW_CALLS:
            break
        group.append(one)
        size += one.calls
    if not group:
        _end_preview(row)
        return False
    in_slices = len(group) == 1
    calls = calls_of(row, group, PREVIEW_CALLS if in_slices else None)
    _note(row, calls)
    if in_slices and len(calls) == PREVIEW_CALLS:
        group[0].cursor_at, group[0].cursor_id = calls[-1].at, calls[-1].record
        group[0].save(update_fields=["cursor_at", "cursor_id"])
    else:
        row.by_account.filter(pk__in=[one.pk for one in group]).update(previewed=True, cursor_at=None, cursor_id=None)
    row.due_at = now + LOOK_AGAIN
    row.save(update_fields=["counted", "left_out", "due_at"])
    return True


def _note(row: Correction, calls: list[Call]) -> None:
    plan, favour = plan_of(row), row.favour
    found: dict[UUID, _Of] = defaultdict(_Of)
    reasons: Counter[str] = Counter(row.left_out)
    for call in calls:
        mine = found[call.account]
        sheet = again(call, plan)
        if isinstance(sheet, str):
            mine.left_out += 1
            reasons[sheet] += 1
            continue
        current = call.current
        mine.records += 1
        mine.before += current
        after = owed(favour, current, sheet.charge)
        mine.after += after
        if after < current:
            mine.adjusted += 1
            mine.given += current - after
        elif after > current:
            mine.adjusted += 1
            mine.charged += after - current
    row.left_out = dict(reasons.most_common(50))
    of = list(found.values())
    with connection.cursor() as cursor:
        cursor.execute(
            _FOUND,
            [list(found), *([getattr(one, name) for one in of] for name in _Of.__dataclass_fields__), row.pk],
        )


def _end_preview(row: Correction) -> None:
    names = ("records", "adjusted", "before", "after", "given", "charged")
    sums = row.by_account.aggregate(**{name: Sum(name) for name in names})
    for name in names:
        setattr(row, name, sums[name] or 0)
    row.accounts = row.by_account.filter(adjusted__gt=0).count()
    row.move_to(State.PREVIEWED)
    row.due_at = None
    row.save()
