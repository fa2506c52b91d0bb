"""The table of test cards."""

import pytest

from sandbox import cards


def test_every_number_appears_once():
    assert len({card.number for card in cards.CARDS}) == len(cards.CARDS)


@pytest.mark.parametrize("card", [card for card in cards.CARDS if card.outcome.decline_code != "incorrect_number"])
def test_documented_numbers_pass_the_checksum(card):
    assert cards.passes_luhn(card.number)


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4242424242424242", "", ""),
        ("4111111111111111", "card_declined", "test_mode_live_card"),
        ("4111111111111112", "incorrect_number", "incorrect_number"),
    ],
)
def test_a_number_decides_the_outcome(number, code, decline_code):
    outcome = cards.lookup(number).outcome
    assert (outcome.code, outcome.decline_code) == (code, decline_code)


@pytest.mark.parametrize("name", cards.DECLINE_CODES)
def test_every_decline_code_can_be_asked_for(name):
    outcome = cards.chosen(name)
    assert outcome is not None
    assert outcome.decline_code == name
    assert not outcome.succeeds


def test_a_risk_rule_blocks_before_the_network():
    outcome = cards.charge_outcome(cards.chosen("rule_cards_per_device"))
    assert (outcome["type"], outcome["network_status"]) == ("blocked", "not_sent_to_network")
    assert (outcome["reason"], outcome["rule"]) == ("rule", "rule_cards_per_device")
