"""The model for the peers: shipped weights as ONNX, and one way to run it."""
import json
import os
import struct
import sys

import numpy as np


def read(path):
    """Tensors and description of a model file (safetensors, F16 or F32)."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(size))
        data = file.read()
    about = json.loads(head.pop("__metadata__")["soma"])
    types = {"F32": "<f4", "F16": "<f2"}
    tensors = {}
    for name, entry in head.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(
            data[begin:end], types[entry["dtype"]]).reshape(
                entry["shape"]).astype(np.float32)
    return tensors, about


def convert(path, out):
    """Normalisation, dense layers with ReLU, softmax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    tensors, about = read(path)
    size = int(np.prod(about["input"]["shape"]))
    each = size // len(about["input"]["mean"])
    constants = {"mean": np.repeat(np.float32(about["input"]["mean"]), each),
                 "std": np.repeat(np.float32(about["input"]["std"]), each),
                 **tensors}
    nodes = [helper.make_node("Sub", ["x", "mean"], ["centred"]),
             helper.make_node("Div", ["centred", "std"], ["a0"])]
    for i, layer in enumerate(about["layers"]):
        nodes.append(helper.make_node(
            "Gemm", [f"a{i}", f"layers.{i}.weight", f"layers.{i}.bias"],
            [f"z{i}"], transB=1))
        kind = {"relu": "Relu", "identity": "Identity"}[layer["activation"]]
        nodes.append(helper.make_node(kind, [f"z{i}"], [f"a{i + 1}"]))
    last = len(about["layers"])
    nodes.append(helper.make_node("Softmax", [f"a{last}"], ["p"], axis=1))
    graph = helper.make_graph(
        nodes, "soma",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", size])],
        [helper.make_tensor_value_info(
            "p", TensorProto.FLOAT, ["n", about["layers"][-1]["units"]])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, out)


def session():
    """ONNX Runtime with one thread, as there is one core."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        os.environ["SOMA_ONNX"], options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2])
