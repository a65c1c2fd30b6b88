"""The address: every spec and every lens's knobs there and back, and bad addresses that never raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from winit import initializers, permalink, textform
from winit.fields import (
    LIST_LIMIT,
    TEXT_LIMIT,
    BadInput,
    Choice,
    Declared,
    Form,
    Integer,
    Kind,
    Real,
    Refused,
    Several,
    Text,
    fields_of,
)
from winit.lenses import LENSES, CompareKnobs, DistributionsKnobs, Lens
from winit.spec import Spec, Widths

LENS_LIST = list(LENSES.values())
EACH_LENS = pytest.mark.parametrize("lens", LENS_LIST, ids=lambda lens: lens.slug or "home")


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


EXPRESSIONS = st.sampled_from(
    [
        "gain*sqrt(2/fan_in)",
        "0.1",
        "1e-3",
        "fan_in",
        " min(1, layer/depth)**-2 + exp(-log(fan_out))",
        "gain*0." + "1" * 150,
    ]
)


def _form(kind: Form, name: str) -> st.SearchStrategy[str]:
    """Return texts of a record with any of its parameters set, where they fit together."""
    record, parameters, _ = kind.parts(name)
    texts = {parameter.name: _of_kind(parameter.kind).map(parameter.write) for parameter in parameters}
    given_texts = st.fixed_dictionaries({}, optional=texts)
    return given_texts.map(lambda given: textform.spell(record, given)).filter(lambda text: _is_allowed(kind, text))


def _is_allowed(kind: Kind, value: Any) -> bool:
    try:
        kind.check(value)
    except Refused:
        return False
    return True


def _of_kind(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case Integer(minimum=low, maximum=high, optional=optional):
            return st.integers(low, high) | st.none() if optional else st.integers(low, high)
        case Real(minimum=low, maximum=high, exclusive=exclusive):
            return st.floats(low, high, exclude_min=exclusive)
        case Choice(options=options):
            return st.sampled_from(options)
        case Text():
            return EXPRESSIONS
        case Form(options=options):
            return st.sampled_from(options).flatmap(lambda name: st.just(name) | _form(kind, name))
        case Widths(maximum=maximum, most=most):
            units = st.integers(1, maximum)
            return units | st.lists(units, min_size=2, max_size=most).map(tuple)
        case Several(kind=inner, maximum=maximum):
            values = st.lists(_of_kind(inner).map(inner.check), max_size=maximum, unique=True).map(tuple)
            return values.filter(lambda listed: _is_allowed(kind, listed))
    raise AssertionError(f"no strategy for {kind}")


def _any(owner: type[Declared]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({f.name: _of_kind(f.kind) | st.just(f.default) for f in fields_of(owner)}).map(
        lambda values: owner(**values)
    )


STATES = st.sampled_from(LENS_LIST).flatmap(lambda lens: st.tuples(st.just(lens), _any(Spec), _any(lens.knobs)))


def _asked(query: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the query as a server sees it, through the text of a real address."""
    return parse_qs(urlencode(query), keep_blank_values=True, strict_parsing=True)


def _open(lens: str, **query: str | Sequence[str]) -> permalink.Opened:
    asked = {name: [value] if isinstance(value, str) else list(value) for name, value in query.items()}
    return permalink.parse(LENSES[lens], asked)


# There and back


@settings(deadline=None, max_examples=200)
@given(STATES, st.booleans())
def test_round_trip(state: tuple[Lens, Spec, Declared], full: bool) -> None:
    lens, spec, knobs = state
    query = permalink.write(spec, knobs, full=full)
    assert next(iter(query)) == "v"
    opened = permalink.parse(lens, _asked(query))
    assert opened.problems == ()
    assert opened.spec == spec
    assert opened.knobs == knobs
    assert permalink.write(opened.spec, opened.knobs, full=full) == query


@EACH_LENS
def test_round_trip_of_every_field_alone(lens: Lens) -> None:
    """Each field at values other than its default, the others left alone."""
    others: dict[str, list[Any]] = {
        "activation": ["tanh", "gelu", "leaky_relu(slope=-1e-10)", "scaled_tanh(a=1, b=100)"],
        "initializer": [
            "zeros",
            "random_normal(mean=-0.5, stddev=1e-10)",
            "kaiming_normal(mode=fan_out)",
            'custom(distribution=laplace, standard_deviation="2 * sqrt(2/fan_in)")',
            "custom(standard_deviation=fan_in+1e-3)",  # one word, so without quotes
        ],
        "bias": ["zeros", "constant", "constant(value=-1)", "normal(stddev=0)", "log_prior"],
        "output": ["zeros", "small"],
        "dataset": ["gaussian", "xor"],
        "width": [7, 1024, 1],
        "optimizer": ["adam", "nesterov"],
        "curve": ["test_accuracy"],
        "unit": ["deviations"],
        "view": ["tails", "cumulative"],
        "image": ["svg"],
        "initializers": [
            (),
            ("zeros",),
            ("zeros", "random_normal(stddev=0.01)"),
            ('custom(standard_deviation="min(1, 2/fan_in)")', "custom"),
        ],
        "learning_rates": [(1e-300,), (0.1, 0.01, 1e10)],
        "beside": [("zeros",), ("zeros", "random_normal(stddev=0.01)")],
        "overlay": [(), ("seeds",), ("theory", "band", "seeds")],
        "only": [(1,), (2, 41)],
    }
    for owner in (Spec, lens.knobs):
        for field in fields_of(owner):
            match field.kind:
                case Integer(maximum=high):
                    others[field.name] = [high, 7]
                case Real(maximum=high):
                    others[field.name] = [high, 1e-5, 1 / 3]
                case Choice(options=options) if field.name not in others:
                    others[field.name] = [option for option in options if option != field.default]
            for value in others[field.name]:
                assert value != field.default
                made = owner(**{field.name: value})
                spec, knobs = (made, lens.knobs()) if isinstance(made, Spec) else (Spec(), made)
                query = permalink.write(spec, knobs)
                assert list(query) == ["v", field.name]
                assert query == {"v": "1", field.name: field.write(value)}
                for asked in (query, permalink.write(spec, knobs, full=True)):
                    opened = permalink.parse(lens, _asked(asked))
                    assert (opened.spec, opened.knobs, opened.problems) == (spec, knobs, ())


@EACH_LENS
@pytest.mark.parametrize(
    ("width", "written"),
    [
        ((256, 128, 64), {"depth": "3", "width": "256-128-64"}),
        ((8,) * 3, {"depth": "3", "width": "8"}),
        ((64,) * 3, {"depth": "3"}),
        ((1, 1024) * 5, {"width": "1-1024-1-1024-1-1024-1-1024-1-1024"}),  # ten layers, as by default
        ((1024,) * 15 + (1,), {"depth": "16", "width": "1024-" * 15 + "1"}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_round_trip_of_widths(lens: Lens, width: tuple[int, ...], written: dict[str, str]) -> None:
    spec = Spec(width=width)
    query = permalink.write(spec, lens.knobs())
    assert query == {"v": "1", **written}
    opened = permalink.parse(lens, _asked(query))
    assert opened == permalink.Opened(spec, lens.knobs(), ())
    assert opened.spec.widths == width


def test_the_depth_of_an_address_follows_its_widths() -> None:
    for query in ({"width": "8-4"}, {"width": "8-4", "depth": "30"}, {"depth": "2", "width": "8-4"}):
        opened = _open("live", **query)
        assert opened.problems == ()
        assert opened.spec == Spec(depth=2, width=(8, 4))
        assert permalink.write(opened.spec, opened.knobs) == {"v": "1", "depth": "2", "width": "8-4"}
    assert _open("live", width="64-64").spec == Spec(depth=2)
    refused = _open("live", width="8-4", depth="0")
    assert refused.spec == Spec(depth=2, width=(8, 4))
    assert [problem.field for problem in refused.problems] == ["depth"]
    refused = _open("live", width="8-0", depth="3")
    assert refused.spec == Spec(depth=3)
    assert [problem.field for problem in refused.problems] == ["width"]


@EACH_LENS
def test_the_default_address_is_the_version_alone(lens: Lens) -> None:
    assert permalink.write(Spec(), lens.knobs()) == {"v": permalink.VERSION}
    assert permalink.parse(lens, {}) == permalink.Opened(Spec(), lens.knobs(), ())
    assert permalink.parse(lens, {"v": ["1"]}) == permalink.Opened(Spec(), lens.knobs(), ())


@EACH_LENS
def test_the_full_address_states_every_field_in_order(lens: Lens) -> None:
    names = [field.name for owner in (Spec, lens.knobs) for field in fields_of(owner) if field.default is not None]
    assert list(permalink.write(Spec(), lens.knobs(), full=True)) == ["v", *names]


def test_addresses_as_they_are_written() -> None:
    spec = Spec(depth=30, initializer="random_normal(stddev=0.01)", learning_rate=0.1)
    knobs = CompareKnobs(initializers=("he_normal", "orthogonal(gain=2)"), learning_rates=(0.1, 1.0))
    assert permalink.write(spec, knobs) == {
        "v": "1",
        "depth": "30",
        "initializer": "random_normal(stddev=0.01)",
        "learning_rate": "0.1",
        "initializers": "he_normal;orthogonal(gain=2)",
        "learning_rates": "0.1;1",
    }
    assert permalink.write(Spec(), DistributionsKnobs(fan_in=3)) == {"v": "1", "fan_in": "3"}
    spec = Spec(
        width=(32, 16),
        normalization="layer",
        residual="depth_scaled",
        optimizer="adamw",
        schedule="cosine",
        weight_decay=1e-4,
        clip=1,
    )
    assert permalink.write(spec, LENSES["live"].knobs()) == {
        "v": "1",
        "depth": "2",
        "width": "32-16",
        "normalization": "layer",
        "residual": "depth_scaled",
        "optimizer": "adamw",
        "schedule": "cosine",
        "weight_decay": "0.0001",
        "clip": "1",
    }
    spec = Spec(
        activation="leaky_relu(slope=0.2)",
        initializer='custom(standard_deviation="gain*sqrt(2/fan_in)")',
        bias="constant(value=0.1)",
        output="small",
    )
    assert permalink.write(spec, DistributionsKnobs(view="tails", image="svg")) == {
        "v": "1",
        "activation": "leaky_relu(slope=0.2)",
        "initializer": 'custom(standard_deviation="gain*sqrt(2/fan_in)")',
        "bias": "constant(value=0.1)",
        "output": "small",
        "view": "tails",
        "image": "svg",
    }


def _custom(length: int, mark: int) -> str:
    """Return a law of one's own in a canonical text of just that many characters; `mark` tells several apart."""
    start = f'custom(distribution=truncated_normal, standard_deviation="sqrt({mark}/fan_in)*1.'
    end = '", nu=12345.678901234565, share=0.12345678901234566)'
    return start + "0" * (length - len(start) - len(end)) + end


def _longest(kind: Kind) -> Any:
    """Return a value of a kind with the longest text."""
    match kind:
        case Integer(minimum=low, maximum=high):
            return max(low, high, key=lambda value: len(str(value)))
        case Real():
            numbers = (-1.2345678901234567e-300, 1.2345678901234567e-300, 0.0012345678901234567, 12.345678901234567)
            allowed = [kind.check(number) for number in numbers if _is_allowed(kind, number)]
            return max(allowed, key=lambda value: len(kind.write(value)))
        case Choice(options=options):
            return max(options, key=len)
        case initializers.FORM:
            return _custom(TEXT_LIMIT, 1)
        case Form(options=options):
            texts = []
            for name in options:
                record, parameters, _ = kind.parts(name)
                texts.append(textform.spell(record, {p.name: p.write(_longest(p.kind)) for p in parameters}))
            return max(map(kind.check, texts), key=len)
        case Widths(maximum=maximum, most=most):
            return (maximum,) * (most - 1) + (maximum - 1,)
        case Several(kind=initializers.FORM):
            return (_custom(TEXT_LIMIT, 2), _custom(LIST_LIMIT - TEXT_LIMIT - 1, 3))
        case Several(kind=Choice(options=options), maximum=maximum):
            return tuple(sorted(options, key=len)[-maximum:])
        case Several(kind=Integer(), maximum=maximum, limit=limit):
            return tuple(range(1, 1 + min(maximum, (limit + 1) // 2)))
        case Several(kind=Real(), maximum=maximum, limit=limit):
            each = len("1.2345678901234567e-300;")
            return tuple(
                1.2345678901234567e-300 + number * 1e-305 for number in range(min(maximum, (limit + 1) // each))
            )
    raise AssertionError(f"no longest value for {kind}")


def _longest_of(owner: type[Declared]) -> Any:
    return owner(**{field.name: _longest(field.kind) for field in fields_of(owner)})


@EACH_LENS
def test_the_longest_address_that_can_be_written_can_be_read(lens: Lens) -> None:
    """A state that the page can be in has a link that opens it."""
    spec, knobs = _longest_of(Spec), _longest_of(lens.knobs)
    assert len(spec.initializer) == TEXT_LIMIT
    for field in fields_of(lens.knobs):
        if isinstance(field.kind, Several) and field.kind.kind is initializers.FORM:
            assert len(field.write(getattr(knobs, field.name))) == LIST_LIMIT
    for full in (False, True):
        query = permalink.write(spec, knobs, full=full)
        length = sum(len(name) + len(value) + 2 for name, value in query.items())
        opened = permalink.parse(lens, _asked(query))
        assert opened.problems == (), f"{length} characters"
        assert (opened.spec, opened.knobs) == (spec, knobs)


def _bound(kind: Kind) -> int:
    """Return a length that no text of a kind exceeds."""
    match kind:
        case Integer(minimum=low, maximum=high):
            return max(len(str(low)), len(str(high)))
        case Real(minimum=low):
            return len("2.2250738585072014e-308") + (low < 0)
        case Choice(options=options):
            return max(map(len, options))
        case Form(options=options):
            lengths = []
            for name in options:
                record, parameters, _ = kind.parts(name)
                texts = {p.name: "x" * (TEXT_LIMIT if isinstance(p.kind, Text) else _bound(p.kind)) for p in parameters}
                lengths.append(len(textform.spell(record, texts)))
            return min(max(lengths), TEXT_LIMIT)
        case Widths(maximum=maximum, most=most):
            return most * len(f"{maximum}-") - 1
        case Several(limit=limit):
            return limit
    raise AssertionError(f"no bound for {kind}")


@EACH_LENS
def test_no_address_is_longer_than_what_is_read(lens: Lens) -> None:
    """By each field's own bound, rather than by an example; the length as `parse` counts it."""
    fields = [field for owner in (Spec, lens.knobs) for field in fields_of(owner)]
    longest = {**_longest_of(Spec).values(), **_longest_of(lens.knobs).values()}
    for field in fields:
        assert len(field.write(longest[field.name])) <= _bound(field.kind), field.name
    length = len("v") + len(permalink.VERSION) + 2
    length += sum(len(field.name) + _bound(field.kind) + 2 for field in fields)
    assert length <= permalink.LIMIT


def test_slugs_of_the_lenses() -> None:
    assert list(LENSES) == ["", "distributions", "signal", "live", "compare"]


# Versions


@pytest.fixture
def two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the depth, and the seeds of Train but of no other lens, changed to today's defaults with version 2."""
    old = {Spec: {"depth": 5}, LENSES["live"].knobs: {"seeds": 3}}
    monkeypatch.setattr(permalink, "VERSION", "2")
    monkeypatch.setattr(permalink, "_OLD_DEFAULTS", {"1": old, "2": {}})


@pytest.mark.usefixtures("two_versions")
def test_old_links_open_with_the_defaults_they_were_written_under() -> None:
    live, compare = LENSES["live"], LENSES["compare"]
    assert permalink.parse(live, {"v": ["1"]}).spec == Spec(depth=5)
    assert permalink.parse(live, {"v": ["1"]}).knobs == live.knobs(seeds=3)  # type: ignore[call-arg]
    assert permalink.parse(compare, {"v": ["1"]}).knobs == compare.knobs()
    assert permalink.parse(live, {"v": ["1"], "depth": ["9"]}).spec == Spec(depth=9)
    for today in ({"v": ["2"]}, {"activation": ["relu"]}):
        assert (permalink.parse(live, today).spec, permalink.parse(live, today).knobs) == (Spec(), live.knobs())
    assert permalink.parse(live, {"v": ["1"]}).problems == ()
    # A value that is refused gives the default of the link's own time.
    assert permalink.parse(live, {"v": ["1"], "depth": ["0"]}).spec == Spec(depth=5)
    # One of no time at all is reported, and today's defaults stand in.
    unknown = permalink.parse(live, {"v": ["3"]})
    assert (unknown.spec, unknown.problems[0].allowed) == (Spec(), "one of 1, 2")


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("fields", [{}, {"depth": ["10"], "seeds": ["4"]}, {"depth": ["5"], "seeds": ["3"]}])
def test_an_old_link_is_written_anew_as_one_of_today_for_the_same_network(
    version: str, fields: dict[str, list[str]]
) -> None:
    live = LENSES["live"]
    opened = permalink.parse(live, {"v": [version], **fields})
    canonical = permalink.write(opened.spec, opened.knobs)
    assert canonical["v"] == "2"
    again = permalink.parse(live, {name: [text] for name, text in canonical.items()})
    assert (again.spec, again.knobs, again.problems) == (opened.spec, opened.knobs, ())
    assert ("depth" in canonical) == (opened.spec.depth == 5)


@pytest.mark.parametrize(
    "values", [["2"], ["0"], [""], ["1 "], ["nan"], ["1", "1"], ["1", "2"], [], ["v" * 300], ["1\0"]]
)
def test_unknown_versions_are_reported_and_the_rest_is_kept(values: list[str]) -> None:
    opened = permalink.parse(LENSES["live"], {"v": values, "depth": ["30"]})
    assert opened.spec == Spec(depth=30)
    assert [problem.field for problem in opened.problems] == ["v"]
    assert opened.problems[0].allowed == "one of 1"


# Bad input

BAD = [
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "-1e999",
    "9" * 400,
    "x" * 1000,
    "\0",
    "1\0",
    "7\n8",
    "7 8",
    "１",
    "True",
    "None",
]
BAD += ["0x7", "7_0", "7,0", "<script>", "'; drop table", "\u202e7", "\ud800", "-1", "%37", "he_normal(", "relu;relu"]


def _is_sound(problem: BadInput) -> bool:
    """Whether a message is one line, and short but for the names that are allowed."""
    text = str(problem)
    allowed = [field.kind.allowed for owner in permalink._OWNERS for field in fields_of(owner)]
    names = max((len(words) for words in allowed if words in text), default=0)
    return text.isprintable() and len(text) - names < 500 and text.startswith(f"{problem.field}: '")


@EACH_LENS
@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:12]))
def test_a_bad_value_leaves_the_default_and_names_its_field(lens: Lens, text: str) -> None:
    for owner in (Spec, lens.knobs):
        for field in fields_of(owner):
            opened = permalink.parse(lens, {"v": ["1"], field.name: [text]})
            assert opened.spec == Spec()
            assert opened.knobs == lens.knobs()
            assert [problem.field for problem in opened.problems] == [field.name]
            assert _is_sound(opened.problems[0])
            assert opened.problems[0].value == text


@EACH_LENS
def test_an_empty_value_is_bad_except_for_a_list(lens: Lens) -> None:
    for owner in (Spec, lens.knobs):
        for field in fields_of(owner):
            opened = permalink.parse(lens, {field.name: [""]})
            if isinstance(field.kind, Several):
                assert opened.problems == ()
                assert getattr(opened.knobs, field.name) == ()
            else:
                assert [problem.field for problem in opened.problems] == [field.name]
                assert (opened.spec, opened.knobs) == (Spec(), lens.knobs())


@EACH_LENS
def test_a_repeated_parameter_is_bad_even_where_the_values_agree(lens: Lens) -> None:
    for owner in (Spec, lens.knobs):
        for field in fields_of(owner):
            text = "7" if field.default is None else field.write(field.default)
            for values in ([text, text], [text, "other"], []):
                opened = permalink.parse(lens, {field.name: values})
                assert [problem.field for problem in opened.problems] == [field.name]
                assert opened.problems[0].allowed == "each parameter once"
                assert (opened.spec, opened.knobs) == (Spec(), lens.knobs())


def test_good_fields_are_kept_beside_bad_ones() -> None:
    opened = _open(
        "compare", v="1", depth="30", width="0", seeds="x", curve="loss", learning_rates="0.1;1", colour="red"
    )
    assert opened.spec == Spec(depth=30)
    assert opened.knobs == CompareKnobs(learning_rates=(0.1, 1.0))
    assert [problem.field for problem in opened.problems] == ["width", "seeds", "colour"]


def test_the_message_says_what_is_allowed() -> None:
    (problem,) = _open("live", depth="201").problems
    assert str(problem) == "depth: '201' is not allowed; give a whole number from 1 to 200"
    (problem,) = _open("live", activation="rellu").problems
    assert str(problem).endswith("(did you mean relu?)")
    (problem,) = _open("live", initializer="random_normal(stddev=-1)").problems
    assert "for stddev a number from 0 to 1e+30, not '-1'" in str(problem)
    (problem,) = _open("live", activation="leaky_relu(slope=11)").problems
    assert "for slope a number from -10 to 10, not '11'" in str(problem)
    (problem,) = _open("live", bias="normal(stddev=-1)").problems
    assert "for stddev a number from 0 to 1000000, not '-1'" in str(problem)
    (problem,) = _open("live", initializer="custom(standard_deviation=fan_inn)").problems
    assert "for standard_deviation an expression of at most 200 characters in fan_in, fan_out" in str(problem)
    (problem,) = _open("live", width="64-0").problems
    assert str(problem) == (
        "width: '64-0' is not allowed; give a whole number from 1 to 1024, or at most 16 of them joined by -"
    )
    (problem,) = _open("live", normalization="batchnorm").problems
    assert str(problem).startswith("normalization: 'batchnorm' is not allowed; give one of none, batch, layer, rms")
    (problem,) = _open("live", residual="on").problems
    assert problem.allowed.startswith("one of off, plain, depth_scaled, zero")
    (problem,) = _open("live", schedule="cosin").problems
    assert problem.allowed == "one of constant, warmup, cosine (did you mean cosine?)"
    (problem,) = _open("live", weight_decay="-1").problems
    assert problem.allowed == "a number from 0 to 10"
    (problem,) = _open("live", clip="1e7").problems
    assert problem.allowed == "a number from 0 to 1000000"
    (problem,) = _open("live", output="tiny").problems
    assert str(problem) == "output: 'tiny' is not allowed; give one of same, zeros, small"
    (problem,) = _open("compare", learning_rates="0.1;0").problems
    assert problem.allowed == "a number above 0, at most 10000000000"


@pytest.mark.parametrize(
    "name", ["dept", "Depth", "depth ", "colour", "v2", "__class__", "", "fan-in", "d" * 70, "depth[]"]
)
def test_an_unknown_parameter_is_reported(name: str) -> None:
    opened = permalink.parse(LENSES["live"], {name: ["3"], "depth": ["30"]})
    assert opened.spec == Spec(depth=30)
    (problem,) = opened.problems
    assert problem.field == name[:60]
    assert "only fields that winit knows" in problem.allowed
    if name == "dept":
        assert "did you mean depth?" in problem.allowed


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "\x1b[31m", "\u202edepth", "\ud800"])
def test_the_name_of_an_unknown_parameter_is_shown_escaped(name: str) -> None:
    (problem,) = permalink.parse(LENSES["live"], {name: ["3"]}).problems
    assert str(problem).isprintable()


def test_fields_of_other_lenses_are_ignored_in_silence() -> None:
    for lens in LENS_LIST:
        own = {field.name for field in fields_of(lens.knobs)}
        for other in LENS_LIST:
            for field in fields_of(other.knobs):
                if field.name not in own:
                    for values in (["3"], ["nonsense"], [""], ["1", "2"], []):
                        opened = permalink.parse(lens, {field.name: values})
                        assert opened == permalink.Opened(Spec(), lens.knobs(), ())


def test_a_field_that_two_lenses_share_is_read_by_the_lens_that_is_open() -> None:
    assert _open("signal", seeds="64").problems == ()
    assert [problem.field for problem in _open("live", seeds="64").problems] == ["seeds"]
    assert [problem.field for problem in _open("compare", seeds="64").problems] == ["seeds"]


def test_streamlits_own_parameters_are_left_alone() -> None:
    opened = permalink.parse(LENSES["live"], {"embed": ["true"], "embed_options": ["dark_theme", "show_toolbar" * 500]})
    assert opened == permalink.Opened(Spec(), LENSES["live"].knobs(), ())
    assert not permalink.is_stated({"embed": ["true"], "embed_options": ["a", "b"]})
    assert not permalink.is_stated({})
    assert permalink.is_stated({"embed": ["true"], "v": ["1"]})
    assert permalink.is_stated({"nonsense": ["1"]})


@pytest.mark.parametrize(
    "query",
    [
        {"depth": ["9" * permalink.LIMIT]},
        {"x" * permalink.LIMIT: ["1"]},
        {f"x{n}": ["1"] for n in range(permalink.LIMIT // 4)},
        {"depth": ["3"] * (permalink.LIMIT // 2)},
        {"depth": ["30"], "initializers": ["he_normal;" * (permalink.LIMIT // 9)]},
    ],
)
def test_an_address_that_is_too_long_is_not_read_at_all(query: dict[str, list[str]]) -> None:
    opened = permalink.parse(LENSES["compare"], query)
    assert (opened.spec, opened.knobs) == (Spec(), CompareKnobs())
    (problem,) = opened.problems
    assert problem.field == "address"
    assert str(permalink.LIMIT) in problem.allowed
    assert _is_sound(problem)


def test_the_limit_of_an_address_is_exact() -> None:
    room = permalink.LIMIT - len("depth") - 4 - len("zz") - 2
    within, beyond = {"depth": ["30"], "zz": ["x" * room]}, {"depth": ["30"], "zz": ["x" * (room + 1)]}
    assert [p.field for p in permalink.parse(LENSES["live"], within).problems] == ["zz"]
    assert permalink.parse(LENSES["live"], within).spec == Spec(depth=30)
    assert [p.field for p in permalink.parse(LENSES["live"], beyond).problems] == ["address"]


NAMES = st.sampled_from([field.name for owner in permalink._OWNERS for field in fields_of(owner)] + ["v"])
GOOD = [
    "3",
    "0.5",
    "relu",
    "he_normal",
    "1;2",
    ";",
    "zeros",
    "small",
    "8-4",
    "batch",
    "cosine",
    "elu(alpha=2)",
    'custom(standard_deviation="1/2")',
]
TEXTS = st.text(max_size=30) | st.sampled_from(BAD) | st.sampled_from(GOOD)


@settings(deadline=None)
@given(
    st.sampled_from(LENS_LIST), st.dictionaries(NAMES | st.text(max_size=20), st.lists(TEXTS, max_size=3), max_size=6)
)
def test_no_address_raises(lens: Lens, query: dict[str, list[str]]) -> None:
    opened = permalink.parse(lens, query)
    assert isinstance(opened.spec, Spec)
    assert isinstance(opened.knobs, lens.knobs)
    reported = {problem.field for problem in opened.problems}
    for part in (opened.spec, opened.knobs):
        for field in fields_of(type(part)):
            # Widths say how deep a network is.
            if (field.name not in query or field.name in reported) and (field.name != "depth" or "width" not in query):
                assert getattr(part, field.name) == field.default
    # What was understood can be written and read again.
    again = permalink.parse(lens, _asked(permalink.write(opened.spec, opened.knobs)))
    assert again == permalink.Opened(opened.spec, opened.knobs, ())
