"""What is left of a budget, as the headers of an answer tell it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trueup.connectors.rest.answers import rest_s
from trueup.connectors.rest.message import Response
from trueup.connectors.rest.schema_http import BudgetShape


@pytest.mark.parametrize(
    ("headers", "rest"),
    [
        ({"ratelimit": '"default";r=50;t=30'}, None),
        ({"ratelimit": '"default";r=5;t=30'}, 30),
        ({"ratelimit": '"burst";r=0;t=3, "da,ily;r=0;t=9";r=900;t=5000'}, 3),
        ({"ratelimit": '"burst";r=100;t=3,"daily";r=0;t=5000'}, 5000),
        ({"ratelimit": '"default";r=0'}, 1),
        ({"ratelimit": "default;t=7;r=1"}, 7),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"ratelimit": "limit=100, remaining=60, reset=50"}, None),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "2", "ratelimit-reset": "12"}, 12),
        ({"ratelimit-remaining": "80", "ratelimit-reset": "12"}, None),
        ({"ratelimit": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_draft_for_all_of_http(headers, rest):
    assert rest_s(Response(200, headers, b""), BudgetShape(ratelimit=True, keep=5)) == rest


@pytest.mark.parametrize("said", [{}, {"ratelimit": True, "remaining": "X-Left"}])
def test_one_of_the_two_is_said(said):
    with pytest.raises(ValidationError, match="either remaining"):
        BudgetShape(**said)
