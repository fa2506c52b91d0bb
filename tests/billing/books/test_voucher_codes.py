"""Voucher codes: written one way, read in many, and slips of the pen told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.books import voucher_codes
from billing.books.voucher_codes import ALPHABET, LENGTH
from billing.errors import VoucherMistyped


def test_a_code_has_sixteen_characters_in_groups_of_four():
    code = voucher_codes.new()

    assert [len(group) for group in code.shown.split("-")] == [4, 4, 4, 4]
    assert set(code.text) <= set(ALPHABET)
    assert voucher_codes.read(code.shown) == code
    assert code.text not in repr(code)
    assert voucher_codes.mask(code.last_four).endswith(code.text[-4:])


def test_a_code_is_read_in_any_case_with_spaces_and_dashes_and_letters_that_look_like_digits():
    body = "0123456789ABCDE"
    text = body + voucher_codes.check_digit(body)
    for typed in (
        text.lower(),
        f"  {text[:8]} - {text[8:]}\n",
        "Oi" + text[2:],
        "ol" + text[2:],
        f"{text[:4]}–{text[4:]}",
    ):
        assert voucher_codes.read(typed).text == text


@given(st.text(alphabet=ALPHABET, min_size=15, max_size=15), st.integers(0, 15), st.sampled_from(ALPHABET))
def test_every_single_wrong_character_is_found(body, place, other):
    text = body + voucher_codes.check_digit(body)
    wrong = text[:place] + other + text[place + 1 :]
    if wrong == text:
        assert voucher_codes.read(wrong).text == text
    else:
        with pytest.raises(VoucherMistyped, match="Check what you typed"):
            voucher_codes.read(wrong)


@given(st.text(alphabet=ALPHABET, min_size=15, max_size=15), st.integers(0, 15), st.integers(0, 15))
def test_every_pair_that_changed_places_is_found(body, one, other):
    letters = list(body + voucher_codes.check_digit(body))
    letters[one], letters[other] = letters[other], letters[one]
    if letters[one] != letters[other]:
        with pytest.raises(VoucherMistyped):
            voucher_codes.read("".join(letters))


def test_full_width_letters_of_a_chinese_keyboard_are_read():
    body = "0123456789ABCDE"
    text = body + voucher_codes.check_digit(body)

    assert voucher_codes.read("".join(chr(ord(letter) + 0xFEE0) for letter in text)).text == text


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("", "length"), ("ABCD", "length"), ("A" * 17, "length"), ("x" * 10_000, "length"), ("ß" * 16, "character"),
     ("ABCD-ABCD-ABCD-ABC!", "character"), ("ABCDABCDABCDABCU", "character"), ("\0" * 16, "character"),
     ("券" * 16, "character"), ("ß" * 8, "length")],
)  # fmt: skip
def test_what_cannot_be_a_code_says_why(typed, reason):
    with pytest.raises(VoucherMistyped) as refused:
        voucher_codes.read(typed)
    assert refused.value.evidence["reason"] == reason


def test_hashes_are_keyed_and_differ_from_those_of_other_secrets():
    code = voucher_codes.new()

    assert len(code.digest) == 32
    assert code.digest != voucher_codes.digest(code.text)


def test_two_thousand_codes_are_different():
    assert len({voucher_codes.new().text for _ in range(2000)}) == 2000
    assert len(voucher_codes.new().text) == LENGTH
