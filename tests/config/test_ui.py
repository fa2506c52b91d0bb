"""Money, times and states as the pages show them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.template.loader import get_template
from django.test import RequestFactory
from django.utils import timezone, translation

from config.templatetags import ui


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("42.18", "$42.18"),
        ("1234567.891", "$1,234,567.89"),
        ("0.005", "$0.01"),
        ("-2.53", "\N{MINUS SIGN}$2.53"),
        ("-0.001", "$0.00"),
        ("0", "$0.00"),
        (None, "\N{EN DASH}"),
    ],
)
def test_moved_money_shows_two_places_rounded_half_up(value, shown):
    assert ui.usd_text(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.0542640000", "$0.054264"),
        ("0.0478150656", "$0.047815"),  # J05
        ("2.432", "$2.432000"),  # J03
        ("0.05", "$0.05"),
        ("0", "$0.00"),
        ("0.0000000004", "<$0.000001"),
    ],
)
def test_a_charge_shows_six_places_and_never_rounds_something_to_nothing(value, shown):
    assert ui.usd6_text(Decimal(value)) == shown


def test_the_exact_amount_is_on_hover_only_where_rounding_hid_something():
    assert 'title="$0.0478150656"' in ui.usd6(Decimal("0.0478150656"))
    assert "title" not in ui.usd6(Decimal("0.054264"))
    assert 'title="\N{MINUS SIGN}$0.054264"' in ui.usd_signed(Decimal("-0.054264"))
    assert ">+$20.00<" in ui.usd_signed("20")


def test_floats_are_refused():
    with pytest.raises(TypeError, match="not as float"):
        ui.usd(0.1)


def test_quantities_and_prices_keep_the_places_that_they_need():
    assert ui.count(12000) == "12,000"
    assert ui.price_text("0.0125") == "$0.0125"
    assert ui.price_text("3") == "$3.00"
    assert ui.flow_count("2.4260") == "2.426"
    assert ">5.3 Flows<" in ui.flows("5.3")
    assert ui.number("7.3000") == "7.3"
    assert ui.percent("0.375", 1) == "37.5\N{NO-BREAK SPACE}%"


def test_times_are_in_the_readers_zone_with_the_machine_readable_time_beside():
    moment = datetime(2020, 11, 22, 4, 4, 31, tzinfo=UTC)
    with timezone.override("Asia/Shanghai"), translation.override("en"):
        shown = ui.when(moment, "seconds")
    assert 'datetime="2020-11-22T04:04:31+00:00"' in shown
    assert ">Nov 22, 2020, 12:04:31<" in shown
    assert "CST" in shown


def test_a_badge_says_the_state_in_words_and_escapes_them():
    assert "bg-green-lt" in ui.status_badge("succeeded", "Paid")
    assert "&lt;b&gt;" in ui.status_badge("unheard-of", "<b>")
    assert "bg-secondary-lt" in ui.status_badge("unheard-of")


def test_a_meter_stays_within_its_limit_and_survives_a_limit_of_nothing():
    assert 'class="meter-used" width="82.4%"' in ui.meter(Decimal("41.2"), Decimal(50))
    assert 'class="meter-used" width="100%"' in ui.meter(90, 50)
    assert 'class="meter-used" width="0%"' in ui.meter(1, 0)


def test_chart_data_cannot_end_its_script_element():
    shown = ui.chart({"labels": ["</script><b>"], "series": []}, "c", "Label")
    assert "</script><b>" not in shown
    assert shown.count("</script>") == 1


def test_the_sidebar_leaves_out_pages_that_nobody_serves():
    page = Template('{% nav_item "/overview" "key" "Here" %}{% nav_item "/not/yet" "key" "Nowhere" %}')
    shown = page.render(Context({"request": RequestFactory().get("/overview")}))
    assert 'aria-current="page"' in shown
    assert "Nowhere" not in shown


@pytest.mark.parametrize("status", ["403", "403_csrf", "404", "429", "500"])
def test_an_error_page_stands_without_request_or_database(status):
    shown = get_template(f"{status}.html").render()
    assert "<h1" in shown
    assert 'href="/"' in shown
