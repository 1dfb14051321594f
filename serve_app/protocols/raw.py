"""Tensors as bytes: the binary tensor extension of REST, and ``raw_*_contents`` of gRPC.

Elements are little-endian and row-major, without padding; BOOL is one byte, 0 or 1; an element of
BYTES is its length in four bytes, and then as many bytes. Source: "Binary Tensor Data Extension" of
Triton's protocol documents.
"""

import struct

import numpy as np

from serve_app.protocols.tensors import BOOL, BYTES, DTYPES, Tensor, TensorError, Values, count_of

PREFIX = struct.Struct("<I")

Raw = bytes | memoryview


def read(raw: Raw, datatype: str, shape: tuple[int, ...], field: str) -> Values:
    """Elements of a tensor. Nothing is allocated for more elements than ``raw`` has.

    Args:
        raw: all of the tensor, and no more.
        datatype: one of `DATATYPES`.
        shape: of the tensor.
        field: place of the tensor, for messages.

    Returns:
        A read-only view on ``raw``, which need not be aligned; for ``BYTES`` a list of ``bytes``.

    Raises:
        TensorError: another number of bytes than the shape has, or bytes that are no such values.
    """
    count = count_of(shape, field)
    if datatype == BYTES:
        return _strings(raw, count, field)
    dtype = DTYPES[datatype]
    if count * dtype.itemsize != len(raw):
        raise TensorError(
            field,
            f"{count} elements of {datatype} have {count * dtype.itemsize} bytes",
            len(raw),
        )
    if datatype != BOOL:
        return np.frombuffer(raw, dtype=dtype)
    # Other bytes are neither true nor false to numpy.
    found = np.frombuffer(raw, dtype=np.uint8)
    if count and found.max() > 1:
        place = int((found > 1).argmax())
        raise TensorError(f"{field}[{place}]", "a byte of BOOL is 0 or 1", int(found[place]))
    return found.view(np.bool_)


def write(tensor: Tensor) -> bytes:
    """The elements of ``tensor`` as bytes."""
    if tensor.datatype != BYTES:
        return np.asarray(tensor.values, dtype=DTYPES[tensor.datatype]).tobytes()
    # Labels are few: each is encoded once.
    known = {value: _packed(value) for value in set(tensor.values)}
    return b"".join(map(known.__getitem__, tensor.values))


def _packed(value: str | bytes) -> bytes:
    encoded = value if isinstance(value, bytes) else value.encode()
    return PREFIX.pack(len(encoded)) + encoded


def _strings(raw: Raw, count: int, field: str) -> list[bytes]:
    size = len(raw)
    if count * PREFIX.size > size:
        raise TensorError(
            field, f"{count} elements of BYTES have {count * PREFIX.size} bytes or more", size
        )
    found: list[bytes] = []
    place = 0
    for position in range(count):
        start = place + PREFIX.size
        if start > size:
            raise TensorError(f"{field}[{position}]", "the bytes end before its length")
        (length,) = PREFIX.unpack_from(raw, place)
        place = start + length
        if place > size:
            raise TensorError(
                f"{field}[{position}]",
                f"its length is beyond the {size - start} bytes left",
                length,
            )
        found.append(bytes(raw[start:place]))
    if place != size:
        raise TensorError(field, f"{size - place} bytes follow the last of {count} elements")
    return found
