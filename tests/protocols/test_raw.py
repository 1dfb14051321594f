"""Tensors as bytes: what is written is read, and lies about lengths are found before they cost."""

import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.protocols.raw import read, write
from serve_app.protocols.tensors import BYTES, DATATYPES, DTYPES, Tensor, TensorError

STRINGS = st.lists(st.binary(max_size=6), max_size=6)


@given(data=st.data(), datatype=st.sampled_from(list(DTYPES)))
def test_numbers_come_back(data: st.DataObject, datatype: str) -> None:
    """Every bit pattern of every datatype, at any place of a body, aligned or not."""
    dtype, count = DTYPES[datatype], data.draw(st.integers(0, 5))
    size = count * dtype.itemsize
    elements = st.sampled_from([0, 1]) if datatype == "BOOL" else st.integers(0, 255)
    raw = bytes(data.draw(st.lists(elements, min_size=size, max_size=size)))
    body = memoryview(b"{}}"[: data.draw(st.integers(0, 3))] + raw)[-size:] if size else b""
    values = read(body, datatype, (count,), "x")
    assert isinstance(values, np.ndarray)
    assert values.dtype == dtype
    assert write(Tensor("x", datatype, (count,), values)) == raw


@given(strings=STRINGS)
def test_strings_come_back(strings: list[bytes]) -> None:
    """Of any bytes and lengths, none and empty ones too."""
    raw = write(Tensor("x", BYTES, (len(strings),), list(strings)))
    assert raw == b"".join(struct.pack("<I", len(each)) + each for each in strings)
    assert read(raw, BYTES, (len(strings),), "x") == strings


@given(
    raw=st.binary(max_size=40),
    datatype=st.sampled_from(DATATYPES),
    shape=st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 4), max_size=4),
)
def test_any_bytes_are_taken_or_refused(raw: bytes, datatype: str, shape: list[int]) -> None:
    """What is taken has as many elements as the shape says; nothing else is raised."""
    try:
        values = read(raw, datatype, tuple(shape), "x")
    except TensorError:
        return
    assert len(values) == math.prod(shape)
    assert write(Tensor("x", datatype, tuple(shape), values)) == raw


@given(strings=STRINGS.filter(bool), data=st.data())
def test_a_changed_string_tensor_is_no_other_tensor(
    strings: list[bytes], data: st.DataObject
) -> None:
    """A prefix that lies, a byte more or less: refused, or read as exactly these bytes say."""
    raw = bytearray(write(Tensor("x", BYTES, (len(strings),), list(strings))))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        found = read(bytes(raw), BYTES, (len(strings),), "x")
    except TensorError:
        return
    assert write(Tensor("x", BYTES, (len(strings),), found)) == bytes(raw)


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "message"),
    [
        (b"1234567", "FP64", (1,), "x: 1 elements of FP64 have 8 bytes; got 7"),
        (b"", "INT8", (2**62, 2**62), f"x: {2**124} elements of INT8"),
        (b"", BYTES, (2**40,), f"x: {2**40} elements of BYTES have {2**42} bytes or more; got 0"),
        (b"\0\2", "BOOL", (2,), "x[1]: a byte of BOOL is 0 or 1; got 2"),
        (
            b"\xff\xff\xff\xff",
            BYTES,
            (1,),
            f"x[0]: its length is beyond the 0 bytes left; got {2**32 - 1}",
        ),
        (b"\1\0\0\0a\1\0\0", BYTES, (2,), "x[1]: the bytes end before its length"),
        (b"\0\0\0\0a", BYTES, (1,), "x: 1 bytes follow the last of 1 elements"),
        (b"a", BYTES, (0,), "x: 1 bytes follow the last of 0 elements"),
    ],
)
def test_a_lie_is_named(raw: bytes, datatype: str, shape: Any, message: str) -> None:
    """The tensor, the problem and the value."""
    with pytest.raises(TensorError) as error:
        read(raw, datatype, shape, "x")
    assert message in str(error.value)


def test_nothing_is_allocated_for_a_shape_that_lies() -> None:
    """A huge shape, or a huge length of a string, costs no memory."""
    lies: list[tuple[bytes, str, tuple[int, ...]]] = [
        (b"12345678", "FP64", (2**50,)),
        (b"\xff\xff\xff\x7f" * 4, BYTES, (4,)),
        (b"12345678", BYTES, (2**50,)),
    ]
    tracemalloc.start()
    try:
        for raw, datatype, shape in lies:
            with pytest.raises(TensorError):
                read(raw, datatype, shape, "x")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
