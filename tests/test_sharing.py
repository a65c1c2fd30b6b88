"""Sharing: links, frames, QR codes and saved networks, there and back."""

from __future__ import annotations

import contextlib
import json
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winit import permalink, sharing
from winit.fields import BadInput
from winit.lenses import LENSES, CompareKnobs
from winit.spec import Spec

PAGE = "https://example.org/winit/compare"
NETWORKS = [
    (Spec(), CompareKnobs()),
    (Spec(width=(256, 128, 64), bias="constant(value=0.1)"), CompareKnobs(learning_rates=(0.1, 0.001))),
    (
        Spec(activation="leaky_relu(slope=0.2)", initializer="random_normal(stddev=0.02)", seed=2**31 - 1),
        CompareKnobs(initializers=("zeros", 'custom(standard_deviation="sqrt(2/fan_in)")'), seeds=9),
    ),
]


@pytest.mark.parametrize(("spec", "knobs"), NETWORKS)
def test_a_link_opens_what_it_was_made_of(spec: Spec, knobs: CompareKnobs) -> None:
    url = sharing.link(PAGE, spec, knobs)
    assert url.isascii()
    assert not re.search(r"[\s)]", url)
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == PAGE
    opened = permalink.parse(LENSES["compare"], parse_qs(parts.query, separator="&"))
    assert (opened.spec, opened.knobs, opened.problems) == (spec, knobs, ())


@pytest.mark.parametrize(("spec", "knobs"), NETWORKS)
def test_a_frame_holds_the_link_and_asks_for_no_header(spec: Spec, knobs: CompareKnobs) -> None:
    url = sharing.link(PAGE, spec, knobs)
    found = re.fullmatch(r'<iframe src="([^"]*)" [^<>]*></iframe>', sharing.embedding(url))
    assert found
    assert unescape(found.group(1)) == url + "&embed=true"


def test_a_qr_code_is_a_picture_that_grows_with_the_link() -> None:
    short, long = (sharing.qr_code(sharing.link(PAGE, *network)) for network in (NETWORKS[0], NETWORKS[2]))
    sides = [int(re.search(r'viewBox="0 0 (\d+) \1"', image).group(1)) for image in (short, long)]  # type: ignore[union-attr]
    assert 21 + 8 <= sides[0] < sides[1] <= 177 + 8  # versions 1 to 40 and a margin of 4 on each side
    sharing.qr_code(PAGE + "?" + "a" * permalink.LIMIT)


@pytest.mark.parametrize(("spec", "knobs"), NETWORKS)
def test_a_saved_network_opens_as_it_was(spec: Spec, knobs: CompareKnobs) -> None:
    text = sharing.saved(LENSES["compare"], spec, knobs)
    assert sharing.opened(text) == (LENSES["compare"], spec, knobs)
    assert set(json.loads(text)["network"]) == set(spec.values())


def test_what_a_file_leaves_out_is_at_its_default() -> None:
    assert sharing.opened('{"winit": "1"}') == (LENSES[""], Spec(), LENSES[""].knobs())
    assert sharing.opened('{"winit": "1", "page": "live", "network": {"depth": 3}}')[1] == Spec(depth=3)


def test_a_file_of_an_older_version_opens_with_the_defaults_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permalink, "VERSION", "2")
    monkeypatch.setattr(permalink, "_OLD_DEFAULTS", {"1": {Spec: {"depth": 5}, CompareKnobs: {"seeds": 3}}, "2": {}})
    lens, spec, knobs = sharing.opened('{"winit": "1", "page": "compare"}')
    assert (spec, knobs) == (Spec(depth=5), CompareKnobs(seeds=3))
    assert sharing.opened(sharing.saved(lens, spec, knobs)) == (lens, spec, knobs)
    assert sharing.opened('{"winit": "2", "page": "compare"}')[1:] == (Spec(), CompareKnobs())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "file"),
        ("{", "file"),
        ("{}", "file"),
        ("[1]", "file"),
        ("[" * 9000, "file"),
        ("x" * (sharing.FILE_LIMIT + 1), "file"),
        ('{"winit": "2"}', "v"),
        ('{"winit": [1]}', "file"),
        ('{"winit": "1", "page": "nowhere"}', "page"),
        ('{"winit": "1", "page": [1]}', "page"),
        ('{"winit": "1", "network": 3}', "file"),
        ('{"winit": "1", "network": {"deep": 3}}', "deep"),
        ('{"winit": "1", "network": {"depth": 0}}', "depth"),
        ('{"winit": "1", "network": {"depth": NaN}}', "depth"),
        ('{"winit": "1", "network": {"seed": 1e400}}', "seed"),
        ('{"winit": "1", "network": {"width": [[1]]}}', "width"),
        ('{"winit": "1", "network": {"activation": ["relu"]}}', "activation"),
        ('{"winit": "1", "network": {"activation": null}}', "activation"),
        ('{"winit": "1", "page": "compare", "knobs": {"seeds": "many"}}', "seeds"),
        ('{"winit": "1", "page": "compare", "knobs": {"initializers": [{}]}}', "initializers"),
        ('{"winit": "1", "page": "compare", "knobs": {"initializers": 5}}', "initializers"),
    ],
)
def test_bad_files_are_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        sharing.opened(text)
    assert caught.value.field == field
    assert caught.value.allowed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(Spec().values())), JSON, st.sampled_from(list(CompareKnobs().values())), JSON)
def test_hostile_files_are_opened_or_refused_never_crashed_on(
    field: str, value: object, knob: str, other: object
) -> None:
    content = {"winit": "1", "page": "compare", "network": {field: value}, "knobs": {knob: other}}
    with contextlib.suppress(BadInput):
        lens, spec, knobs = sharing.opened(json.dumps(content))
        assert sharing.opened(sharing.saved(lens, spec, knobs)) == (lens, spec, knobs)


def test_a_query_may_name_its_page() -> None:
    assert permalink.page_named({}) is None
    assert permalink.page_named({"page": ["compare"]}) is LENSES["compare"]
    assert permalink.page_named({"page": ["train"]}) is LENSES["live"]
    assert permalink.page_named({"page": ["home"]}) is LENSES[""]
    for names in (["nowhere"], ["live", "compare"]):
        with pytest.raises(BadInput, match="distributions"):
            permalink.page_named({"page": names})
        opened = permalink.parse(LENSES[""], {"page": names, "depth": ["3"]})
        assert opened.spec == Spec(depth=3)
        assert [problem.field for problem in opened.problems] == ["page"]
