"""Stripe's form encoding, without a server."""

import pytest

from sandbox.encoding import decode
from sandbox.errors import ApiError


def test_brackets_become_nested_objects():
    assert decode("a[b][0][c]=1&a[b][1][c]=2&d[]=x&d[]=y&e=") == {
        "a": {"b": {"0": {"c": "1"}, "1": {"c": "2"}}},
        "d": {"0": "x", "1": "y"},
        "e": "",
    }


def test_escaped_brackets_and_text_are_read():
    assert decode("metadata%5Border%5D=%E8%AE%A2%E5%8D%95+7") == {"metadata": {"order": "订单 7"}}


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a[b]=2", "a[b]=1&a=2", "[a]=1", "a]b=1", "a" + "[b]" * 20 + "=1"])
def test_names_that_contradict_each_other_are_refused(text):
    with pytest.raises(ApiError):
        decode(text)


def test_a_thousand_parameters_are_the_limit():
    with pytest.raises(ApiError):
        decode("&".join(f"a{n}=1" for n in range(1001)))
