import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import BadInput
from pitboss.store.identity import canonical_json, digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False).filter(
        lambda x: abs(x) != float("inf")
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def test_the_spelling_is_canonical():
    assert canonical_json({"b": 1, "a": [1.0, "é", None]}) == '{"a":[1.0,"é",null],"b":1}'


def test_the_digest_is_the_same_on_every_machine():
    # sha256 of {"a":1,"b":[true,0.1]}
    assert digest({"b": [True, 0.1], "a": 1}) == "4d86eb47c2b7453d"


def test_the_digest_does_not_depend_on_the_process():
    code = "from pitboss.store.identity import digest; print(digest({'x': ['é', 2], 'a': {}}))"
    here = digest({"a": {}, "x": ["é", 2]})
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == here


@given(JSON, JSON)
def test_equal_spelling_means_equal_digest_and_nothing_else_does(one, other):
    assert (canonical_json(one) == canonical_json(other)) == (digest(one) == digest(other))


@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(settings):
    assert digest(settings) == digest(dict(reversed(settings.items())))


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), {1, 2}, pytest.param(object(), id="object"), {1: 2}, {(1, 2): 3}],
    ids=str,
)
def test_what_has_no_exact_form_is_refused(bad):
    with pytest.raises(BadInput, match="An identity"):
        digest({"x": bad})
