"""Masked values: of the same form, alike wherever they stand, and not the real ones."""

from __future__ import annotations

import string
import unicodedata
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.clean_library import clean_one
from trueup.model import CleanStep, Field
from trueup.setup.rehearsal.mask import Masker
from trueup.setup.rehearsal.treatment import Treatment

KEY = bytes(range(32))
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
letters = st.text(string.ascii_letters, min_size=1, max_size=12)


def masker(**more) -> Masker:
    return Masker(KEY, **more)


@given(words)
def test_length_capitals_and_what_is_no_letter_stay(text):
    text = unicodedata.normalize("NFC", text)
    made = masker().text(text)
    assert len(made) <= len(text)
    for old, new in zip(text, made, strict=False):
        if unicodedata.normalize("NFD", text) != text:
            break  # places move where accents are counted apart
        assert old.isalnum() == new.isalnum()
        assert old.isdecimal() == new.isdecimal()
        assert old == new or old.isalnum()


@given(letters, letters)
def test_masking_goes_together_with_joining_trimming_and_capitals(one, other):
    mask = masker().text
    assert mask(f"{one} {other}") == f"{mask(one)} {mask(other)}"
    assert mask(f"  {one}.") == f"  {mask(one)}."
    assert mask(one.lower()) == mask(one).lower()
    assert mask(one.upper()) == mask(one).upper()


@given(st.sets(st.text(string.ascii_lowercase, min_size=1, max_size=4), max_size=200))
def test_what_differs_differs_still(texts):
    mask = masker().text
    assert len({mask(text) for text in texts}) == len(texts)


def test_every_run_of_two_letters_becomes_another_one_and_none_twice():
    pairs = {one + other for one in string.ascii_lowercase for other in string.ascii_lowercase}
    made = {masker().text(pair) for pair in pairs}
    assert made == pairs
    digits = {f"{number:03}" for number in range(1000)}
    assert {masker().text(text) for text in digits} == digits


def test_accents_are_masked_as_their_letters_are():
    mask = masker().text

    def bare(text: str) -> str:
        return "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))

    assert bare(mask("Müller")) == mask("Muller")
    assert unicodedata.is_normalized("NFC", mask("Ångström Łódź"))


@pytest.mark.parametrize("text", ["שלום", "Иванов", "王小明", "علي", "Ελλάδα"])
def test_letters_stay_in_their_alphabet(text):
    made = masker().text(text)
    assert made != text
    assert [unicodedata.name(sign).split()[0] for sign in made] == [unicodedata.name(sign).split()[0] for sign in text]


@pytest.mark.parametrize("text", ["", " ", "\t-\n", "👩‍💻", "—", "null" * 0])
def test_what_has_nothing_to_mask_stays(text):
    assert masker().text(text) == text


def test_an_address_keeps_the_end_of_its_domain_and_its_name():
    mask = masker().text
    made = mask("Ada.Lovelace@mail.example.co.uk")
    assert made.endswith(".co.uk")
    assert "lovelace" not in made.lower()
    assert "example" not in made
    assert made.split("@")[0] == f"{mask('Ada')}.{mask('Lovelace')}"
    assert clean_one(made, CleanStep("email")) is not None


@pytest.mark.parametrize("written", ["020 7946 0001", "+44 20 79460001", "(020) 7946-0001", "0044 20 7946 0001"])
def test_a_telephone_number_is_another_one_of_its_area_however_it_is_written(written):
    step = CleanStep("phone", "GB")
    made = clean_one(masker().phone(written), step)
    assert made == clean_one(masker().phone("020 7946 0001"), step)
    assert made is not None
    assert made.startswith("+44207946"[:7])
    assert made != "+442079460001"


@pytest.mark.parametrize("written", ["GB82 WEST 1234 5698 7654 32", "gb82west12345698765432", "DE89 3704 0044 0532 0130 00"])
def test_an_account_is_another_valid_one_of_its_country(written):
    made = masker().iban(written)
    step = CleanStep("iban")
    assert made[:2] == written[:2]
    assert clean_one(made, step) is not None
    assert clean_one(made, step) != clean_one(written, step)
    assert clean_one(masker().iban(written.replace("82", "83").replace("89", "88")), step) is None  # wrong check digits stay wrong


@pytest.mark.parametrize(
    ("written", "country"), [("SW1A 1AA", "GB"), ("sw1a1aa", "GB"), ("10115", "DE"), ("1234 AB", "NL"), ("LT-01100", "LT")]
)
def test_a_postcode_is_another_one(written, country):
    field = Field(name="postcode", clean=(CleanStep("postcode", country),))
    made = Treatment("code", field, country=country).mask(masker(), written)
    step = CleanStep("postcode", country)
    assert clean_one(made, step) is not None
    assert clean_one(made, step) != clean_one(written, step)


def test_a_postcode_with_and_without_its_gap_is_the_same_still():
    step = CleanStep("postcode", "GB")
    assert clean_one(masker().code("SW1A 1AA"), step) == clean_one(masker().code("sw1a1aa"), step)


@given(st.integers(-(10**12), 10**12))
def test_a_number_keeps_its_sign_and_size(number):
    made = masker().number(number)
    assert (made < 0, len(str(abs(made))), str(abs(made))[0]) == (number < 0, len(str(abs(number))), str(abs(number))[0])


def test_numbers_are_exchanged_among_each_other():
    assert {masker().number(number) for number in range(100, 1000)} == set(range(100, 1000))


@pytest.mark.parametrize(
    ("one", "other"),
    [("1234.5", "1234.50"), ("1,234.56", "1234.56"), ("€ 1.234,50", "1234.5"), ("(12.50)", "12.5"), ("1 234,5 kr", "1234.5")],
)
def test_an_amount_is_the_same_one_however_it_is_written(one, other):
    def value(text: str) -> float:
        plain = "".join(sign for sign in text if sign.isdigit() or sign in ".,").strip(".,")
        mark = max(plain.rfind("."), plain.rfind(","))
        return float("".join(filter(str.isdigit, plain[:mark])) + "." + plain[mark + 1 :])

    assert value(masker().numeral(one)) == value(masker().numeral(other))
    assert value(masker().numeral(one)) != value(other)


def test_a_number_stays_within_the_bounds_of_its_field():
    field = Field(name="hours", type="integer", minimum=10, maximum=24)
    made = [Treatment("number", field).mask(masker(), number) for number in range(10, 25)]
    assert sorted(made) == list(range(10, 25))
    assert Treatment("number", field).mask(masker(), 72) > 24  # what is wrong stays wrong


def test_days_move_together_and_stay_the_same_day_of_the_week():
    mask = masker()
    moved = mask.moment(date(2026, 11, 20))
    assert moved < date(2026, 11, 20)
    assert moved.strftime("%a") == "Fri"
    assert mask.date_text("2026-11-20") == moved.isoformat()
    assert mask.date_text("20.11.2026") == moved.strftime("%d.%m.%Y")
    assert mask.date_text("11/20/2026", order="mdy") == moved.strftime("%m/%d/%Y")
    assert mask.date_text("20 Nov 2026", "%d %b %Y") == moved.strftime("%d %b %Y")
    assert mask.moment(datetime(2026, 11, 20, 7, 30)) == datetime.combine(moved, datetime(2026, 1, 1, 7, 30).time())  # noqa: DTZ001
    assert mask.date_text("31.31.2026") != "31.31.2026"


def test_short_numbers_stay_as_keys_and_nothing_else_does():
    mask = masker()
    assert (mask.key_text("1001"), mask.key_text("007"), mask.key_number(42)) == ("1001", "007", 42)
    assert mask.key_text("ada@example.com") == mask.text("ada@example.com")
    assert mask.key_text("491234567890") != "491234567890"
    assert mask.key_number(491234567890) != 491234567890


def test_what_the_configuration_names_stays_and_nothing_else_becomes_it():
    mask = masker(kept=["active", "A"], words=["INV"])
    assert (mask.text("Active"), mask.text(" A "), mask.text("INV-7712")[:4]) == ("Active", " A ", "INV-")
    others = {mask.text(letter) for letter in string.ascii_uppercase if letter != "A"}
    assert "A" not in others
    assert len(others) == 25


def test_a_copy_of_a_record_has_values_of_its_own():
    first, second = masker(), masker(copy=1, key_step=10**7)
    assert first.text("Lovelace") != second.text("Lovelace")
    assert (second.key_number(42), second.key_text("42")) == (10**7 + 42, "10000042")


def test_json_keeps_its_names_and_its_form():
    made = Treatment("json").mask(masker(), '{"name": "Ada", "tags": ["Royal", 1042], "ok": true, "none": null}')
    assert made.startswith('{"name":"')
    assert '"ok":true' in made
    assert '"none":null' in made
    assert "Ada" not in made
    assert "Royal" not in made
    assert "1042" not in made
