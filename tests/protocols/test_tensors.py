"""Elements of tensors in JSON: counted first, of their datatype, and named where they are wrong."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.protocols.tensors import (
    DATATYPES,
    DTYPES,
    LARGEST_DIMENSION,
    TensorError,
    count_of,
    require_datatype,
    values_of,
)


@pytest.mark.parametrize(
    ("datatype", "data", "dtype"),
    [
        ("FP64", [1, 2.5, -0.0, 1e300], "float64"),
        ("FP32", [5.1, 2, 3, 4], "float64"),
        ("INT8", [-128, 0, 1, 127], "int8"),
        ("UINT64", [0, 1, 2, 2**64 - 1], "uint64"),
        ("BOOL", [True, False, 1, 0], "bool"),
    ],
)
def test_numbers_become_an_array(datatype: str, data: list[Any], dtype: str) -> None:
    """Flat and nested data are the same; 5.1 is 5.1, also where the datatype is FP32."""
    for given_data, shape in ((data, (2, 2)), ([data[:2], data[2:]], (2, 2)), (data, (4,))):
        found = values_of(given_data, datatype, shape, "data")
        assert isinstance(found, np.ndarray)
        assert found.dtype == dtype
        assert found.tolist() == data


@pytest.mark.parametrize("datatype", DTYPES)
def test_null_is_a_missing_value(datatype: str) -> None:
    """As MLServer's codecs write NaN: it makes an array of floats, whatever the datatype."""
    found = values_of([1, None, 0], datatype, (3, 1), "data")
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, [1, np.nan, 0])


def test_strings_stay_what_they_are() -> None:
    """Text, bytes and missing values, in a list."""
    assert values_of(["ü", b"\xff", None], "BYTES", (3,), "data") == ["ü", b"\xff", None]


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "message"),
    [
        (5, "FP64", [1], "data: elements go into an array; got 5"),
        ({"a": 1}, "FP64", [1], "elements go into an array"),
        ([1, 2], "FP64", [3], "shape [3] has 3 elements; got 2"),
        ([1, 2, 3, 4], "FP64", [2**62, 2**62], f"has {2**124} elements; got 4"),
        ([[1, 2], [3]], "FP64", [2, 2], "data[1]: nested arrays have 2 elements; got 1"),
        ([[1, 2], 3], "FP64", [2, 2], "data[1]: nested arrays have 2 elements; got 3"),
        ([1, [2]], "FP64", [2], "data[1]: FP64 takes numbers; got [2]"),
        ([[1], [2]], "FP64", [2], "data[0]: FP64 takes numbers"),
        (["1"], "FP64", [1], "data[0]: FP64 takes numbers; got '1'"),
        ([1, True], "FP32", [2], "data[1]: FP32 takes numbers; got True"),
        ([10**400], "FP64", [1], "an integer that FP64 cannot hold"),
        ([1, 2.0], "INT64", [2], "data[1]: INT64 takes integers; got 2.0"),
        ([1, 128], "INT8", [2], "data[1]: INT8 takes integers from -128 to 127; got 128"),
        ([None, -1], "UINT8", [2], "data[1]: UINT8 takes integers from 0 to 255 beside missing"),
        ([None, 2**53 + 1], "INT64", [2], f"to {2**53} beside missing values; got {2**53 + 1}"),
        ([True, 2], "BOOL", [2], "data[1]: BOOL takes true and false; got 2"),
        (["true"], "BOOL", [1], "data[0]: BOOL takes true and false; got 'true'"),
        (["a", 1], "BYTES", [2], "data[1]: BYTES takes strings; got 1"),
        ([[["a"]]], "BYTES", [1, 1], "data[0]: BYTES takes strings; got ['a']"),
    ],
)
def test_a_wrong_element_is_named(data: Any, datatype: str, shape: list[int], message: str) -> None:
    """The field, the problem and the value."""
    with pytest.raises(TensorError) as error:
        values_of(data, datatype, shape, "data")
    assert message in str(error.value)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(data=JSON, datatype=st.sampled_from(DATATYPES), shape=st.lists(st.integers(-1, 3)))
def test_any_data_is_taken_or_refused(data: Any, datatype: str, shape: list[int]) -> None:
    """What is taken has as many elements as the shape says; nothing else is raised."""
    try:
        found = values_of(data, datatype, shape, "data")
    except TensorError:
        return
    assert len(found) == math.prod(shape)


@pytest.mark.parametrize("size", [-1, True, 1.0, "1", None, LARGEST_DIMENSION + 1, [1]])
def test_a_dimension_is_a_number_of_elements(size: Any) -> None:
    """Nothing else is one."""
    with pytest.raises(TensorError, match=r"shape: dimensions are integers from 0 to"):
        count_of([1, size], "shape")


def test_a_shape_has_few_dimensions_and_counts_exactly() -> None:
    """Products beyond 64 bits do not wrap around to a small number."""
    assert count_of([LARGEST_DIMENSION] * 4, "shape") == LARGEST_DIMENSION**4
    assert count_of([], "shape") == 1
    with pytest.raises(TensorError, match="at most 8 dimensions; got 9"):
        count_of([1] * 9, "shape")


@pytest.mark.parametrize("datatype", ["FP8", "fp64", "", None, 5, ["FP64"], "BF16"])
def test_a_datatype_is_one_of_the_protocols(datatype: Any) -> None:
    """The others are refused, with the list of those that are taken."""
    with pytest.raises(TensorError, match="datatypes are BOOL, INT8"):
        require_datatype(datatype, "inputs[0].datatype")
