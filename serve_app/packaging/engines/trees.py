"""Ensembles of decision trees as arrays, and the ONNX operator that sums their leaves.

The operator compares, adds and answers in one type, and adds the leaves of a row in the order of
the trees, as the libraries do: sums have the same bits. Its version 5 is taken, as versions before
answer in single precision only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.nodes import ML
from serve_app.packaging.engines.table import Table

_SUM = 1
_AT_MOST, _MEMBER = 0, 6
_LEAF = -1
_NOTHING = np.array([-(2.0**30)])
"""Set of a value that no row has."""


@dataclass
class Tree:
    """One tree: an array each, a value a node; children are positions, -1 for those of a leaf."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    """Rows with at most this value go to the left."""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    """Where rows without a value go."""
    value: NDArray[np.float64]
    """What a leaf adds to the outputs from ``target`` on, shape [nodes, outputs]."""
    target: int = 0
    members: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """Nodes that send a set of values to the left, instead of those below a threshold."""


def constant_trees(values: Iterable[float]) -> list[Tree]:
    """A tree for each output that adds the same to every row: where a sum starts."""
    nothing = np.array([_LEAF])
    return [
        Tree(
            feature=np.zeros(1, np.int64),
            threshold=np.zeros(1),
            left=nothing,
            right=nothing,
            missing_left=np.zeros(1, np.bool_),
            value=np.array([[value]]),
            target=target,
        )
        for target, value in enumerate(values)
    ]


def below(threshold: NDArray[Any]) -> NDArray[Any]:
    """The largest value less than each threshold: ``x < t`` holds where ``x`` is at most that."""
    with np.errstate(over="ignore"):
        found: NDArray[Any] = np.nextafter(threshold, threshold.dtype.type(-np.inf))
    return found


def at_most_in_single(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest single precision values at or below thresholds.

    Values of single precision stay on their side.
    """
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
        return np.where(rounded > threshold, below(rounded), rounded).astype(np.float64)


def summed(
    table: Table,
    values: Tensor,
    trees: Sequence[Tree],
    outputs: int,
    *,
    compared_as: Any = np.float64,
) -> Tensor:
    """Sum of the leaves of each row, shape [rows, outputs].

    Args:
        table: where ``values`` come from; tells which features the trees read untouched.
        values: what the trees compare and in which type they add, shape [rows, columns].
        trees: in the order of the sum.
        outputs: number of sums.
        compared_as: the type to which the library rounds a value before it compares.
    """
    table.graph.has_trees = True
    _note_thresholds(table, trees, compared_as)
    parts = [part for tree in trees for part in _with_one_output_a_leaf(tree)]
    sizes = [len(part.feature) for part in parts]
    starts = np.cumsum([0, *sizes])
    is_leaf = np.concatenate([part.left == _LEAF for part in parts])
    left, right = (
        np.concatenate(
            [
                np.where(getattr(part, side) == _LEAF, _LEAF, getattr(part, side) + start)
                for part, start in zip(parts, starts[:-1], strict=True)
            ]
        )
        for side in ("left", "right")
    )
    # A tree of one leaf: a node whose two children are that leaf.
    lone = starts[:-1][is_leaf[starts[:-1]]]
    inner = np.sort(np.concatenate([np.flatnonzero(~is_leaf), lone]))
    left[lone] = right[lone] = lone
    leaves = np.flatnonzero(is_leaf)
    number = np.zeros(len(is_leaf), np.int64)
    leaf_number = number.copy()
    number[inner] = np.arange(len(inner))
    leaf_number[leaves] = np.arange(len(leaves))

    def children(side: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ends = is_leaf[side[inner]]
        return np.where(ends, leaf_number[side[inner]], number[side[inner]]), ends.astype(np.int64)

    true_ids, true_leaves = children(left)
    false_ids, false_leaves = children(right)
    values_of = np.concatenate([part.value[:, 0] for part in parts])
    targets = np.concatenate([part.leaf_target for part in parts])
    missing = np.concatenate([part.missing_left for part in parts])[inner].astype(np.int64)
    attributes: dict[str, Any] = {
        "aggregate_function": _SUM,
        "leaf_targetids": targets[leaves],
        "leaf_weights": values_of[leaves].astype(values.dtype),
        "n_targets": outputs,
        "nodes_falseleafs": false_leaves,
        "nodes_falsenodeids": false_ids,
        "nodes_featureids": np.concatenate([part.feature for part in parts])[inner],
        "nodes_splits": np.concatenate([part.threshold for part in parts])[inner].astype(
            values.dtype
        ),
        "nodes_trueleafs": true_leaves,
        "nodes_truenodeids": true_ids,
        "post_transform": 0,
        "tree_roots": number[starts[:-1]],
    }
    modes = np.full(len(inner), _AT_MOST, np.uint8)
    members = [
        (number[node + start], values)
        for part, start in zip(parts, starts[:-1], strict=True)
        for node, values in sorted(part.members.items())
    ]
    if members:
        # The operator refuses an empty set.
        members = [(node, values if len(values) else _NOTHING) for node, values in members]
        modes[[node for node, _ in members]] = _MEMBER
        end = np.array([np.nan])
        attributes["membership_values"] = np.concatenate(
            [part for _, chosen in members for part in (chosen, end)]
        ).astype(values.dtype)
    attributes["nodes_modes"] = modes
    if missing.any():
        attributes["nodes_missing_value_tracks_true"] = missing
    return values.graph.op("TreeEnsemble", values, dtype=values.dtype, domain=ML, **attributes)


def _note_thresholds(table: Table, trees: Sequence[Tree], compared_as: Any) -> None:
    for place, column in enumerate(table.columns):
        if column.source is None:
            continue
        found = [
            tree.threshold[(tree.feature == place) & (tree.left != _LEAF) & ~_has_members(tree)]
            for tree in trees
        ]
        values = np.unique(np.concatenate(found))
        values = values[np.isfinite(values)].astype(compared_as)
        if len(values):
            table.graph.thresholds.setdefault(column.source, []).append(values)


def _has_members(tree: Tree) -> NDArray[np.bool_]:
    found = np.zeros(len(tree.feature), np.bool_)
    found[list(tree.members)] = True
    return found


@dataclass
class _Part(Tree):
    """A tree whose leaves add to one output each."""

    leaf_target: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def _with_one_output_a_leaf(tree: Tree) -> list[_Part]:
    """The tree once for each output that a leaf adds to; the leaves of a class of its own: once.

    The n-th copy has the n-th value of each leaf that is not zero, and is cut where there is none.
    """
    is_leaf = tree.left == _LEAF
    outputs = tree.value.shape[1]
    copies = 1
    order = np.zeros((len(is_leaf), 1), np.int64)
    if outputs > 1:
        used = tree.value != 0
        copies = max(1, int(used[is_leaf].sum(axis=1).max()))
        # Outputs with a value first, in their order.
        order = np.argsort(~used, axis=1, kind="stable")
    parts = []
    for copy in range(copies):
        value = np.take_along_axis(tree.value, order[:, copy : copy + 1], axis=1)
        target = order[:, copy] + tree.target
        part = _Part(
            tree.feature,
            tree.threshold,
            tree.left,
            tree.right,
            tree.missing_left,
            value,
            0,
            tree.members,
            leaf_target=target,
        )
        parts.append(_cut(part) if copy else part)
    return parts


def _cut(part: _Part) -> _Part:
    """The tree without branches that add nothing."""
    left, right = part.left.copy(), part.right.copy()
    is_leaf = left == _LEAF
    empty = is_leaf & (part.value[:, 0] == 0)
    while True:
        found = ~is_leaf & ~empty & empty[left] & empty[right]
        if not found.any():
            break
        empty |= found
    value = np.where(empty[:, np.newaxis], 0.0, part.value)
    left[empty] = right[empty] = _LEAF
    kept = np.zeros(len(left), np.bool_)
    level = np.array([0])
    while len(level):
        kept[level] = True
        level = np.concatenate([left[level], right[level]])
        level = level[level != _LEAF]
    number = np.cumsum(kept) - 1

    def renumbered(side: NDArray[np.int64]) -> NDArray[np.int64]:
        side = side[kept]
        return np.where(side == _LEAF, _LEAF, number[side])

    return _Part(
        part.feature[kept],
        part.threshold[kept],
        renumbered(left),
        renumbered(right),
        part.missing_left[kept],
        value[kept],
        0,
        {int(number[node]): values for node, values in part.members.items() if kept[node]},
        leaf_target=part.leaf_target[kept],
    )


def set_bits(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Numbers of the bits that are set in words of 32."""
    bits = np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), bitorder="little")
    return np.flatnonzero(bits).astype(np.float64)


def single_precision(values: Tensor) -> Tensor:
    """Values that a library rounds to single precision before it compares, as double precision."""
    return values.cast(np.float32).cast(np.float64)


def require(condition: bool, reason: str) -> None:  # noqa: FBT001
    """Refuse what this module does not compute.

    Raises:
        CannotCompileError: ``condition`` does not hold.
    """
    if not condition:
        raise CannotCompileError(reason)
