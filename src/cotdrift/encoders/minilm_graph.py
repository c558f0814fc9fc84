"""MiniLM as a graph for onnxruntime, built from its weights: from pieces of words to the mean of its middle and last layers.

BERT (Devlin et al., 2019) as Hugging Face writes its weights down; only what the mean of some layers' states needs is in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
"""The first in which Gelu is one operation."""
HEADS = 12
EPSILON = 1e-12
SMALL = 1000
"""Values with no more numbers are part of the graph."""


class Graph:
    """Nodes and weights, gathered."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.kept: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A value that is part of the graph."""
        if name not in self.kept:
            self.kept[name] = np.ascontiguousarray(value)
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operation; returns the name of what comes out."""
        made = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def dense(self, x: str, name: str, scale: float = 1.0) -> str:
        """A layer's weights and bias; `scale` is multiplied in."""
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T * np.float32(scale))
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"] * np.float32(scale))
        return self.add("Add", self.add("MatMul", x, weight), bias)

    def norm(self, x: str, name: str) -> str:
        """Layer normalisation."""
        scale, bias = (self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)

    def heads(self, x: str, *, turned: Sequence[int]) -> str:
        """Batch × pieces × width as batch × heads × pieces × a head's width, or with its last two axes the other way round."""
        return self.add("Transpose", self.add("Reshape", x, self.constant("split", np.array([0, 0, HEADS, -1]))), perm=list(turned))


def graph_of(weights: Mapping[str, NDArray[np.float32]], layers: Sequence[int]) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The model for onnxruntime: `ids` and `mask` (batch × pieces) to `states` (batch × pieces × width), the mean of these layers.

    The large weights are handed over beside the graph, by name: as part of it they would be copied four times.
    """
    graph = Graph(weights)
    width = weights["embeddings.LayerNorm.weight"].shape[0]
    embedded = graph.add("Gather", graph.constant("words", weights["embeddings.word_embeddings.weight"]), "ids")
    length = graph.add("Slice", graph.add("Shape", "ids"), *(graph.constant(f"i{at}", np.array([at])) for at in (1, 2)))
    table = graph.constant(
        "positions", weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][:1]
    )
    places = graph.add("Slice", table, graph.constant("i0", np.array([0])), length, graph.constant("axis", np.array([0])))
    x = graph.norm(graph.add("Add", embedded, places), "embeddings.LayerNorm")
    shut = graph.add(
        "Mul", graph.add("Sub", graph.constant("one", np.ones(1, np.float32)), "mask"), graph.constant("far", np.full(1, -1e9, np.float32))
    )
    hidden = graph.add("Unsqueeze", shut, graph.constant("axes", np.array([1, 2])))
    wanted = []
    for layer in range(max(layers)):
        x = _layer(graph, x, hidden, f"encoder.layer.{layer}", width // HEADS)
        wanted += [x] if layer + 1 in layers else []
    graph.nodes.append(helper.make_node("Mean", wanted, ["states"]))
    shape = ["batch", "pieces"]
    made = helper.make_graph(
        graph.nodes,
        "minilm",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, shape), helper.make_tensor_value_info("mask", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [*shape, width])],
        [_named(name, value) for name, value in graph.kept.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return model.SerializeToString(), {name: value for name, value in graph.kept.items() if value.size > SMALL}


def _named(name: str, value: NDArray[Any]) -> TensorProto:
    """A value that is in the graph, or the name of one that is handed over beside it."""
    if value.size <= SMALL:
        return numpy_helper.from_array(value, name)
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    beside = TensorProto(name=name, dims=value.shape, data_type=kind, data_location=TensorProto.EXTERNAL)
    beside.external_data.add(key="location", value="beside")
    return beside


def _layer(graph: Graph, x: str, hidden: str, name: str, of_head: int) -> str:
    attention = f"{name}.attention"
    asked = graph.heads(graph.dense(x, f"{attention}.self.query", of_head**-0.5), turned=(0, 2, 1, 3))
    keys = graph.heads(graph.dense(x, f"{attention}.self.key"), turned=(0, 2, 3, 1))
    values = graph.heads(graph.dense(x, f"{attention}.self.value"), turned=(0, 2, 1, 3))
    shares = graph.add("Softmax", graph.add("Add", graph.add("MatMul", asked, keys), hidden), axis=-1)
    heard = graph.add("Transpose", graph.add("MatMul", shares, values), perm=[0, 2, 1, 3])
    together = graph.add("Reshape", heard, graph.constant("join", np.array([0, 0, -1])))
    x = graph.norm(graph.add("Add", graph.dense(together, f"{attention}.output.dense"), x), f"{attention}.output.LayerNorm")
    inner = graph.add("Gelu", graph.dense(x, f"{name}.intermediate.dense"))
    return graph.norm(graph.add("Add", graph.dense(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")
