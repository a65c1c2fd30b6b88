"""Kinds and declared fields: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import math
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from winit.fields import (
    LIST_LIMIT,
    TEXT_LIMIT,
    BadInput,
    Choice,
    Declared,
    Field,
    Form,
    Integer,
    Kind,
    Real,
    Refused,
    Several,
    declare,
    fields_of,
    nearest,
    number_text,
    shown,
)

COLOURS = Choice(("red", "green", "blue"))


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


def _shout(text: str) -> str:
    """Normalize letters to upper case; refuse everything else."""
    if not text.isalpha() or not text.isascii():
        raise Refused("letters")
    return text.upper()


WORD = Form(("ONE", "TWO"), _shout)


@dataclass(frozen=True)
class Lamp(Declared):
    """A declared value with one field of each kind."""

    count: int = declare(3, Integer(1, 10), label="Count", help="How many.")
    place: int | None = declare(None, Integer(1, 5, optional=True), label="Place", help="Where, if anywhere.")
    power: float = declare(0.5, Real(0.0, 100.0, exclusive=True), label="Power", help="How bright.", group="light")
    colour: str = declare("red", COLOURS, label="Colour", help="Which.")
    words: tuple[str, ...] = declare(("ONE",), Several(WORD, 3), label="Words", help="What is said.")


# Round trips


@given(st.integers(-(10**11), 10**11), st.integers(-(10**11), 10**11), st.data())
def test_integer_round_trip(first: int, second: int, data: st.DataObject) -> None:
    kind = Integer(min(first, second), max(first, second))
    value = data.draw(st.integers(kind.minimum, kind.maximum))
    assert kind.check(value) == value
    read = kind.read(kind.write(value))
    assert read == value
    assert type(read) is int


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_real_round_trip_is_exact(value: float) -> None:
    kind = Real(-sys.float_info.max, sys.float_info.max)
    read = kind.read(kind.write(kind.check(value)))
    assert read == value
    assert type(read) is float
    assert math.copysign(1.0, read) == 1.0 or value < 0  # -0.0 has become 0.0


@given(st.integers(-1000, 1000))
def test_real_takes_whole_numbers_and_returns_floats(value: int) -> None:
    checked = Real(-1000, 1000).check(value)
    assert checked == value
    assert type(checked) is float


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_text_reads_back_and_never_ends_in_a_bare_point_zero(value: float) -> None:
    text = number_text(value)
    assert float(text) == value
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (1.0, "1"), (1e-10, "1e-10"), (0.0, "0"), (-2.5, "-2.5"), (1e22, "1e+22")]
)
def test_number_text_is_short(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.sampled_from(COLOURS.options))
def test_choice_round_trip(value: str) -> None:
    assert COLOURS.read(COLOURS.write(COLOURS.check(value))) == value


@given(st.from_regex(r"[a-zA-Z]{1,20}", fullmatch=True))
def test_form_keeps_the_canonical_text(text: str) -> None:
    once = WORD.check(text)
    assert once == text.upper()
    assert WORD.read(WORD.write(once)) == once


@given(st.lists(st.floats(0, 1e10, allow_nan=False), max_size=12, unique=True))
def test_several_round_trip(values: list[float]) -> None:
    kind = Several(Real(0.0, 1e10), 12)
    checked = kind.check(values)
    assert checked == tuple(values)
    assert kind.read(kind.write(checked)) == checked


def test_several_of_nothing_is_the_empty_text() -> None:
    kind = Several(COLOURS, 2)
    assert kind.write(()) == ""
    assert kind.read("") == ()


def test_several_allows_blanks_around_the_items() -> None:
    assert Several(COLOURS, 3).read("red ; blue;green ") == ("red", "blue", "green")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.05", 0.05), (".5", 0.5), ("5.", 5.0), ("+1e-3", 0.001), ("1E2", 100.0), ("-0", 0.0), ("007", 7.0)],
)
def test_spellings_of_a_number(text: str, value: float) -> None:
    read = Real(-1000, 1000).read(text)
    assert read == value
    assert math.copysign(1.0, read) == 1.0


def test_ends_of_a_range_are_inside_unless_exclusive() -> None:
    assert Integer(1, 10).check(1) == 1
    assert Integer(1, 10).check(10) == 10
    assert Real(0, 1).check(0) == 0
    assert Real(0, 1).check(1) == 1
    assert Real(0, 1, exclusive=True).check(1) == 1
    assert Real(0, 1, exclusive=True).check(5e-324) == 5e-324
    for zero in (0, 0.0, -0.0):
        with pytest.raises(Refused, match="above 0"):
            Real(0, 1, exclusive=True).check(zero)


def test_optional_integer_takes_none_and_only_then() -> None:
    assert Integer(1, 5, optional=True).check(None) is None
    with pytest.raises(Refused):
        Integer(1, 5).check(None)


# Refusals

NOT_NUMBERS = [
    "",
    " ",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "x",
    "0x10",
    "1_0",
    "1,0",
]
NOT_NUMBERS += [
    "1 ",
    " 1",
    "1\n",
    "\x001",
    "1\x00",
    "True",
    "None",
    "--1",
    "1e",
    "e1",
    ".",
    "+",
    "-",
    "１",
    "١",
    "²",
    "½",
]
# Fullwidth one, Arabic-Indic one, superscript two and a half: digits to Python, not to this parser.


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_number_texts_that_are_refused(text: str) -> None:
    for kind in (Integer(-5, 100_000), Integer(1, 5, optional=True), Real(-1e10, 1e10)):
        with pytest.raises(Refused) as caught:
            kind.read(text)
        assert caught.value.allowed == kind.allowed


@pytest.mark.parametrize("text", ["1.0", "1e2", "1.", ".5"])
def test_an_integer_is_not_written_with_a_point_or_exponent(text: str) -> None:
    with pytest.raises(Refused):
        Integer(0, 1000).read(text)


BAD_VALUES: list[Any] = [math.nan, math.inf, -math.inf, True, False, "3", b"3", None, [3], (3,), {}, 3 + 0j, object()]


@pytest.mark.parametrize("value", [*BAD_VALUES, 10**400, -(10**400), 3.0, 3.5])
def test_integer_refuses(value: Any) -> None:
    with pytest.raises(Refused):
        Integer(1, 10).check(value)


@pytest.mark.parametrize("value", [*BAD_VALUES, 10**400, -(10**400), 1e300])
def test_real_refuses(value: Any) -> None:
    with pytest.raises(Refused):
        Real(-10, 10).check(value)


@pytest.mark.parametrize("value", [True, None, 1, 1.5, "", "Red", "red ", "purple", "red\x00", ["red"], "x" * 400])
def test_choice_refuses(value: Any) -> None:
    with pytest.raises(Refused, match="one of red, green, blue"):
        COLOURS.check(value)


@pytest.mark.parametrize("value", [True, None, 1, 1.5, ["ONE"], b"ONE"])
def test_form_refuses_what_is_not_text(value: Any) -> None:
    with pytest.raises(Refused, match="one of ONE, TWO"):
        WORD.check(value)


@pytest.mark.parametrize(
    "value", ["red", None, 3, {"red"}, ["red", "red"], ["red", "purple"], ["red", True], ["red", "green", "blue"], [[]]]
)
def test_several_refuses(value: Any) -> None:
    with pytest.raises(Refused):
        Several(COLOURS, 2).check(value)


@pytest.mark.parametrize("text", ["red;red", "red;", ";", "red;;blue", "red,blue", "red;green;blue", "purple"])
def test_several_texts_that_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        Several(COLOURS, 2).read(text)


def test_several_sees_repetition_after_normalizing() -> None:
    with pytest.raises(Refused, match="different"):
        Several(WORD, 3).read("one;ONE")


@given(st.text())
def test_reading_any_text_gives_a_value_of_the_kind_or_a_refusal(text: str) -> None:
    kinds: tuple[Kind, ...] = (Integer(1, 10), Real(0, 1), COLOURS, WORD, Several(COLOURS, 2), Several(Real(0, 1), 3))
    for kind in kinds:
        try:
            value = kind.read(text)
        except Refused as refusal:
            assert refusal.allowed  # noqa: PT017 (either way is fine)
        else:
            assert kind.check(value) == value


def test_a_misspelled_choice_is_answered_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean green"):
        COLOURS.check("gren")
    assert nearest("gren", COLOURS.options) == " (did you mean green?)"
    assert nearest("qqqq", COLOURS.options) == ""
    assert nearest("g" * 100_000, COLOURS.options) == ""


# Messages

RANGES = [
    (Field("count", 3, Integer(1, 10), "Count", ""), "11", "a whole number from 1 to 10"),
    (Field("power", 1.0, Real(0.0, 1e10), "Power", ""), "-1", "a number from 0 to 10000000000"),
    (Field("rate", 1.0, Real(0.0, 2.5, exclusive=True), "Rate", ""), "0", "a number above 0, at most 2.5"),
    (Field("colour", "red", COLOURS, "Colour", ""), "pink", "one of red, green, blue"),
    (Field("words", (), Several(COLOURS, 2), "Words", ""), "red;red", "at most 2 different values, joined by ;"),
]


@pytest.mark.parametrize(("field", "text", "allowed"), RANGES)
def test_message_names_field_value_and_range(field: Field, text: str, allowed: str) -> None:
    with pytest.raises(BadInput) as caught:
        field.read(text)
    problem = caught.value
    assert (problem.field, problem.value) == (field.name, text)
    assert allowed in problem.allowed
    assert str(problem) == f"{field.name}: '{text}' is not allowed; give {problem.allowed}"
    assert problem.__cause__ is None


def test_message_shows_values_that_are_not_text() -> None:
    with pytest.raises(BadInput, match=r"^count: 'nan' is not allowed; give a whole number from 1 to 10$"):
        Field("count", 3, Integer(1, 10), "Count", "").check(math.nan)
    with pytest.raises(BadInput, match=r"^count: 'True' is not allowed"):
        Field("count", 3, Integer(1, 10), "Count", "").check(True)


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("kind", [Integer(1, 10), Real(0, 1)])
def test_message_for_a_number_of_very_many_digits(kind: Kind, digits: int) -> None:
    with pytest.raises(BadInput) as caught:
        Field("count", 1, kind, "Count", "").check(10**digits)
    assert str(caught.value).startswith("count: '")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        ("a\x00b", r"'a\x00b'"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("\u202e", r"'\u202e'"),
        ("\udcff", r"'\udcff'"),
        ("é", "'é'"),
        ("", "''"),
        (1.5, "'1.5'"),
        (None, "'None'"),
        ("x" * 60, f"'{'x' * 60}'"),
        ("x" * 61, f"'{'x' * 60}...'"),
        ("x" * 10_000, f"'{'x' * 60}...'"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text(alphabet=st.characters(), max_size=300))
def test_shown_is_one_short_printable_line(value: str) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 60 + len("'...'")


@given(st.text(min_size=1), st.text())
def test_a_message_is_one_printable_line_whatever_the_value(first: str, second: str) -> None:
    for field, _, _ in RANGES:
        try:
            field.read(first + second)
        except BadInput as problem:
            assert str(problem).isprintable()  # noqa: PT017


def test_text_beyond_its_limit_is_refused_before_it_is_read() -> None:
    def explode(text: str) -> str:
        raise AssertionError("was read")

    field = Field("word", "x", Form((), explode), "Word", "")
    with pytest.raises(BadInput, match=f"at most {TEXT_LIMIT} characters"):
        field.read("x" * (TEXT_LIMIT + 1))
    with pytest.raises(AssertionError):
        field.read("x" * TEXT_LIMIT)


@pytest.mark.parametrize("limit", [None, 60, LIST_LIMIT + 100])
def test_a_list_has_a_limit_of_its_own(limit: int | None) -> None:
    kind = Several(WORD, 3) if limit is None else Several(WORD, 3, limit=limit)
    most = limit or LIST_LIMIT
    field = Field("words", (), kind, "Words", "")
    words = ["a" * (most // 3), "b" * (most // 3), "c" * (most - 2 * (most // 3) - 2)]
    assert len(";".join(words)) == most
    assert field.read(";".join(words)) == tuple(word.upper() for word in words)
    assert field.check(words) == tuple(word.upper() for word in words)
    longer = [*words[:2], words[2] + "c"]
    for refuse in (lambda: field.read("x" * (most + 1)), lambda: field.read(";".join(longer))):
        with pytest.raises(BadInput, match=f"at most {most} characters"):
            refuse()
    with pytest.raises(BadInput, match=f"at most {most} characters together"):
        field.check(longer)


# Declared


def test_fields_keep_their_order_and_words() -> None:
    fields = fields_of(Lamp)
    assert [field.name for field in fields] == ["count", "place", "power", "colour", "words"]
    power = fields[2]
    assert (power.label, power.help, power.group, power.default) == ("Power", "How bright.", "light", 0.5)
    assert [field.optional for field in fields] == [False, True, False, False, False]
    assert fields_of(Lamp) is fields


def test_construction_checks_and_canonicalizes() -> None:
    lamp = Lamp(power=2, words=["one", "two"])  # type: ignore[arg-type]
    assert lamp.power == 2.0
    assert type(lamp.power) is float
    assert lamp.words == ("ONE", "TWO")
    assert lamp == Lamp(power=2.0, words=("ONE", "TWO"))
    assert hash(lamp) == hash(Lamp(power=2.0, words=("ONE", "TWO")))
    assert lamp.values() == {"count": 3, "place": None, "power": 2.0, "colour": "red", "words": ("ONE", "TWO")}
    with pytest.raises(FrozenInstanceError):
        lamp.count = 4  # type: ignore[misc]


def test_construction_refuses_the_first_bad_field() -> None:
    with pytest.raises(BadInput) as caught:
        Lamp(power=-1, colour="pink")
    assert caught.value.field == "power"
    with pytest.raises(BadInput, match=r"^count: '0' is not allowed"):
        Lamp().replace(count=0)


def test_replace_leaves_the_rest() -> None:
    assert Lamp(count=4).replace(colour="blue") == Lamp(count=4, colour="blue")


def test_settle_keeps_what_is_good_and_reports_the_rest() -> None:
    lamp, problems = Lamp.settle({"count": 99, "power": math.nan, "colour": "blue", "unknown": 1, "place": 2})
    assert lamp == Lamp(colour="blue", place=2)
    assert [problem.field for problem in problems] == ["count", "power"]
    assert Lamp.settle({}) == (Lamp(), [])


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=5))


@given(st.dictionaries(st.sampled_from([field.name for field in fields_of(Lamp)]), JUNK))
def test_settle_never_raises_and_reports_each_refused_field_once_in_order(values: dict[str, Any]) -> None:
    lamp, problems = Lamp.settle(values)
    refused = [problem.field for problem in problems]
    assert refused == [name for name in lamp.values() if name in refused]
    for field in fields_of(Lamp):
        if field.name in refused or field.name not in values:
            assert getattr(lamp, field.name) == field.default
        else:
            assert getattr(lamp, field.name) == field.check(values[field.name])
