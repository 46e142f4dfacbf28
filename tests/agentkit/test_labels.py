"""Labels only ever grow less trusted and more private, and survive the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.labels import Labels, Origin, Privacy

labels = st.builds(
    Labels,
    st.sampled_from(Origin),
    st.sampled_from(Privacy),
    st.lists(st.text(max_size=3), max_size=3).map(lambda each: tuple(sorted(set(each)))),
)


@given(labels, labels)
def test_a_join_is_no_more_trusted_and_no_less_private_than_its_parts(left: Labels, right: Labels) -> None:
    joined = left.join(right)
    for part in (left, right):
        assert list(Origin).index(joined.origin) >= list(Origin).index(part.origin)
        assert list(Privacy).index(joined.privacy) >= list(Privacy).index(part.privacy)
        assert set(part.sources) <= set(joined.sources)


@given(labels, labels, labels)
def test_joining_does_not_depend_on_the_order(a: Labels, b: Labels, c: Labels) -> None:
    assert a.join(b).join(c) == c.join(b, a)


@given(labels)
def test_labels_survive_the_wire(one: Labels) -> None:
    assert Labels.from_wire(one.to_wire()) == one


@pytest.mark.parametrize("value", [None, [], ["user"], ["user", "private", [1]], ["nobody", "private", []]])
def test_other_shapes_are_refused(value: object) -> None:
    with pytest.raises(ValueError):
        Labels.from_wire(value)
