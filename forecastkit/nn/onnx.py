"""The only place that knows ONNX: the graph as a file, and ONNX Runtime to run it."""

from __future__ import annotations

import copy
import io
import logging
import os
import tempfile
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from forecastkit.errors import MissingExtraError
from forecastkit.nn.graph import Arrays, Doubles, Graph

INPUTS = Arrays._fields
OUTPUTS = ("expected", "at_levels")
OPSET = 20
_EXPORTING = Lock()  # the exporter works on global registries


def exported(graph: Graph) -> bytes:
    """The graph as an ONNX file whose batch is of any size; inputs are the fields of `Arrays` that the model reads."""
    try:
        from onnxscript import optimizer
    except ImportError as error:
        raise MissingExtraError("the compiled predictor", "onnx") from error
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    example = _example(graph)
    # What the exporter says is about itself; a failure is an exception.
    with _EXPORTING, warnings.catch_warnings(), _quiet("torch.onnx"), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            copy.deepcopy(graph).cpu(),
            example,
            dynamo=True,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=tuple({0: batch} for _ in example),
            opset_version=OPSET,
            external_data=False,
            custom_translation_table={torch.ops.aten.softplus.default: _softplus},
            optimize=False,  # its rewriting of limits leaves inputs without a source where there are several networks
            verbose=False,
        )
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        _tidy(program.model.graph)
        optimizer.remove_unused_nodes(program.model)
        _only_what_is_read(program.model)
    return bytes(program.model_proto.SerializeToString())


def _softplus(values: Any, _beta: float = 1.0, _threshold: float = 20.0) -> Any:
    """One node: the exporter's own divides by beta and chooses by a threshold, which ONNX's has no need of."""
    from onnxscript import opset20

    return opset20.Softplus(values)


def _tidy(graph: Any) -> None:
    """Leave out what the exporter writes down and no forecast needs: at a batch of one every node costs time."""
    from onnxscript import ir

    for node in list(graph):
        given, made = node.inputs, node.outputs
        if node.op_type in ("GRU", "LSTM"):
            for state in range(5, len(given)):  # zeros, which a cell begins with anyhow
                node.replace_input_with(state, None)
        elif node.op_type == "CastLike" and given[0].dtype == made[0].dtype:
            ir.convenience.replace_all_uses_with(made[0], given[0])
        elif node.op_type == "Reshape" and _one_is_left(made[0].shape):
            sizes = [size if isinstance(size, int) else -1 for size in made[0].shape]
            shape = ir.tensor(sizes, dtype=ir.DataType.INT64)
            fixed = ir.Value(name=f"{made[0].name}_shape", const_value=shape)
            graph.register_initializer(fixed)
            node.replace_input_with(1, fixed)


def _one_is_left(shape: Any) -> bool:
    """Whether all sizes but one are numbers: the batch is in the one that is left. A zero would mean another thing."""
    return bool(shape and 0 not in shape and sum(not isinstance(size, int) for size in shape) == 1)


def _only_what_is_read(model: Any) -> None:
    """No inputs for roles that the model has no columns of."""
    for entry in [entry for entry in model.graph.inputs if not entry.uses()]:
        model.graph.inputs.remove(entry)


class _quiet:
    """A chatty logger, kept to errors."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


def _example(graph: Graph) -> tuple[torch.Tensor, ...]:
    """Two made-up series of the shapes that the graph takes."""
    plan = graph.plan
    T, H = plan.context, plan.horizon
    shapes = ((T,), (T + H, len(plan.known.sizes)), (T, len(plan.past.sizes)), (len(plan.static.sizes),))
    doubles = [torch.ones((2, *shape), dtype=torch.float64) for shape in shapes]
    return (*doubles, torch.zeros((2, H, graph.calendar)), torch.ones(2, dtype=torch.float64))


def quantised(model: bytes) -> bytes:
    """The same with 8-bit weights of the cells: among the other matrices are some that must stay exact.

    The shapes must be worked out first (`quant_pre_process`), or the quantiser leaves the cells as they are.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
        plain.write_bytes(model)
        with _quiet("root"):
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantize_dynamic(ready, small, op_types_to_quantize=["LSTM"], weight_type=QuantType.QInt8)
        return small.read_bytes()


class Session:
    """ONNX Runtime on one model; threads may share it."""

    def __init__(self, model: bytes, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("the compiled predictor", "onnx") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A waiting thread that spins takes the core from its neighbours.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.model = model
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, arrays: Arrays) -> tuple[Doubles, Doubles]:
        mean, quantiles = self._session.run(OUTPUTS, {name: getattr(arrays, name) for name in self._names})
        return mean, quantiles
