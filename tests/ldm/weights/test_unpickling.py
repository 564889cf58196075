"""The pickle machine gives back plain values as they were, refuses everything else, and never takes long."""

import io
import pickle
import time
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.weights.plain_values import OPERATIONS, Damaged, NotWeights, Skipped
from ldm.weights.unpickling import Machine

KEYS = st.one_of(st.text(max_size=5), st.integers(-(2**62), 2**62), st.booleans(), st.none(), st.binary(max_size=3))
VALUES = st.recursive(
    st.one_of(KEYS, st.floats(allow_nan=False)),
    lambda values: st.one_of(
        st.lists(values, max_size=4),
        st.tuples(values, values),
        st.dictionaries(KEYS, values, max_size=4),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
    ),
    max_leaves=20,
)


def refuse(module, name):
    raise NotWeights(f"asks for {module}.{name}")


def load(program, whole=True, find=refuse):
    return Machine({}, find, whole=whole).load(io.BytesIO(program))


@settings(max_examples=60)
@given(VALUES, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back_as_they_were(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dicts_of_other_kinds_become_dicts(protocol):
    ordered = OrderedDict(b=1, a=2)
    ordered.note = "an attribute"
    saved = {"o": ordered, "c": Counter("aab"), "d": defaultdict(list, {"x": [1]})}
    loaded = load(pickle.dumps(saved, protocol), whole=False, find=lambda module, name: Skipped(name))
    assert loaded == {"o": {"b": 1, "a": 2}, "c": {"a": 2, "b": 1}, "d": {"x": [1]}}
    assert list(loaded["o"]) == ["b", "a"] and all(type(value) is dict for value in loaded.values())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_are_skipped_or_refused(protocol):
    program = pickle.dumps({"a": 1, "n": Namespace(lr=0.1), "b": 2}, protocol)

    def skip(module, name):
        return Skipped(f"{module}.{name}")

    loaded = load(program, whole=False, find=skip)
    assert type(loaded["n"]) is Skipped and (loaded["a"], loaded["b"]) == (1, 2)
    with pytest.raises(NotWeights, match="which no training state needs"):
        load(program, find=skip)


LISTS = b"\x80\x02]q\x00" + b"".join(b"]q%c(" % i + b"h%c" % (i - 1) * 10 + b"e" for i in range(1, 30)) + b"."
TUPLES = b"\x80\x02)" + b"q\x00h\x00\x86" * 200 + b"."


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02" + b"(" * 1_000_000 + b".",
        b"\x80\x02" + b"}" * 1_000_000 + b".",
        b"\x80\x04" + b"\x8f" * 1_000_000 + b".",
        b"\x80\x02" + b"]" * 400 + b"a" * 399 + b".",
        b"\x80\x02]q\x00h\x00a.",
        LISTS,
        TUPLES,
        b"\x80\x02" + TUPLES[2:-1] + b"}" + TUPLES[2:-1] + b"K\x01s.",
        b"\x80\x02\x8b\x00\x00\x10\x00" + b"\x7f" * (1 << 20) + b".",
        b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
        b"\x80\x02}q\x00(" + b"".join(b"\x8a\x08%bN" % (i << 40).to_bytes(8, "little") for i in range(9)) + b"u",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x80\x02cbuiltins\ndict\n}b.",
        b"\x80\x02cbuiltins\ndict\n\x85.K\x01",
        b"\x80\x02K\x01)R.",
        b"\x80\x02Q.",
        b"\x80\x05\x97.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
        b"(S'ls'\nios\nsystem\n.",
        b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso.",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_bombs_and_programs_are_refused_at_once(program):
    start = time.process_time()
    with pytest.raises((ValueError, KeyError, IndexError)):
        print(load(program))
    assert time.process_time() - start < 2.0


def test_a_recursive_list_is_refused_and_a_shared_one_is_not():
    shared = [1, 2]
    assert load(pickle.dumps([shared, shared])) == [[1, 2], [1, 2]]
    shared.append(shared)
    with pytest.raises(Damaged, match="without an end"):
        load(pickle.dumps(shared))


def test_the_size_of_the_memo_is_not_up_to_the_file():
    assert load(b"\x80\x02]r\x00\x00\x00\x20.") == []


def test_work_is_counted_where_one_instruction_does_much():
    many = (
        b"\x80\x02(" + b"K\x01" * 10_000 + b"lq\x00" + b"cbuiltins\nset\nh\x00\x85R0" * (OPERATIONS // 10_000) + b"N."
    )
    with pytest.raises(Damaged, match="more work"):
        load(many)


def test_names_are_shown_without_control_characters():
    with pytest.raises(NotWeights) as caught:
        load(b"\x80\x02cos\n\x1b[2Jsystem\n.", find=refuse_as_the_reader_does)
    assert str(caught.value).isprintable() and "x1b" in str(caught.value)


def refuse_as_the_reader_does(module, name):
    from ldm.weights.pickled import _other

    return _other(module, name)
