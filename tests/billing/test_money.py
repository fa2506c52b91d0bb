"""Money never loses a digit and never meets a float."""

import pickle
from decimal import Decimal

import pytest

from billing import errors
from billing.money import (
    Money,
    from_minor_units,
    minor_text,
    parse_decimal,
    round_charge,
    round_flows,
    round_minor,
    text,
    to_minor_units,
)

D = Decimal


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("0.00000000005", "0.0000000001"),
        ("0.00000000004999", "0.0000000000"),
        ("99999999999999.99999999995", "100000000000000.0000000000"),
        ("-0.00000000005", "-0.0000000001"),
    ],
)
def test_a_charge_is_rounded_half_up_at_ten_places(raw: str, kept: str) -> None:
    assert text(round_charge(D(raw))) == kept


def test_flows_are_rounded_half_up_at_six_places() -> None:
    assert text(round_flows(D("2.4260005"))) == "2.426001"


def test_what_a_provider_said_is_told_in_whole_units_of_its_currency():
    told = [minor_text(3400, "USD"), minor_text(-25, "CNY"), minor_text(1_234_567, "USD"), minor_text(500, "JPY")]

    assert told == ["34.00 USD", "−0.25 CNY", "12,345.67 USD", "500 JPY"]
    assert minor_text(3400, "XYZ") == "3400 XYZ (smallest units)", "how many places it has is not known"


def test_minor_units_refuse_to_lose_a_fraction() -> None:
    assert to_minor_units(D("16.60")) == 1660
    assert to_minor_units(D("365"), "CNY") == 36500
    assert to_minor_units(D("50"), "JPY") == 50
    with pytest.raises(ValueError, match="not a whole minor unit"):
        to_minor_units(D("0.005"))


def test_j11_money_that_moves_is_rounded_half_up_to_cents() -> None:
    assert round_minor(D("100") / D("7.3")) == D("13.70")
    assert round_minor(D("50") * D("7.3"), "CNY") == D("365.00")
    assert from_minor_units(1370) == D("13.7")


@pytest.mark.parametrize("bad", [0.1, "x", None, True, "NaN", "Infinity", "", []])
def test_an_edge_accepts_only_decimal_text_and_integers(bad: object) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_decimal(bad)


def test_a_float_is_no_money() -> None:
    with pytest.raises(TypeError):
        Money(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        round_charge(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        from_minor_units(1.0)  # type: ignore[arg-type]


def test_money_refuses_digits_finer_than_the_ledger_and_mixed_currencies() -> None:
    with pytest.raises(ValueError, match="finer"):
        Money(D("0.00000000001"))
    with pytest.raises(ValueError, match="do not mix"):
        Money(D(1)) + Money(D(1), "CNY")
    assert Money(D("1.5")) - Money(D(2)) == Money(D("-0.5"))
    assert Money.rounded(D("0.123")).amount == D("0.123")


def test_every_refusal_has_its_own_code_and_survives_a_queue() -> None:
    assert errors.type_of["invalid_usage"] is errors.InvalidUsage
    assert len({cls.code for cls in errors.type_of.values()}) == len(errors.type_of)
    refusal = errors.InvalidUsage("%(field)s must not be negative.", field="input_tokens")
    again = pickle.loads(pickle.dumps(refusal))  # noqa: S301
    assert (again.code, again.detail, again.members) == (
        "invalid_usage",
        "input_tokens must not be negative.",
        {"field": "input_tokens"},
    )


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (401, "invalid_credential"),
        (
            402,
            "insufficient_balance group_quota_exceeded key_limit_exceeded promo_expired task_cost_exceeds_balance "
            "extra_usage_cap",
        ),
        (
            403,
            "model_not_permitted key_disabled key_expired ip_not_allowed plan_required account_suspended risk_blocked "
            "model_unpriced",
        ),
        (404, "not_found"),
        (409, "idempotency_conflict already_captured already_voided"),
        (422, "invalid_usage unknown_model"),
        (429, "rpm_exceeded tpm_exceeded flow_5h_exhausted flow_week_exhausted flow_period_exhausted"),
    ],
)
def test_c04_each_code_has_the_status_of_its_class(status: int, codes: str) -> None:
    for code in codes.split():
        assert errors.type_of[code].status == status, code


def test_a_denial_always_carries_the_receipt_members() -> None:
    assert set(errors.KeyLimitExceeded(needed="0.06").members) >= {
        "limit_source",
        "needed",
        "available",
        "resets_at",
        "gates",
    }
