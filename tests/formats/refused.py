"""Networks that soma cannot have, by ONNX's own package: each must be refused
by the node that is in the way, the reason, and what a user can do.

All but those that are marked as broken pass ONNX's checker, so that it is not
for a wrong file that they are refused.

    refused.py FOLDER
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cases import case, folder, path

random = np.random.default_rng(5)
node = helper.make_node
LAYER = "soma has no layer for this operator"
ELSEWHERE = "train a network of those, or compute this part before the request"
FLOAT32 = "export the one in float32"
CHAIN = ["one chain, without branches", "train a network without this one"]
ACTIVATION = ["does not have the activation", "sigmoid, tanh, relu",
              "train the network with one of them"]
INFERENCE = "export it for inference (model.eval())"


def floats(*shape):
    return random.normal(size=shape).astype(np.float32)


W, B, W2 = floats(3, 4), floats(3), floats(3, 3)
FIRST = node("Gemm", ["x", "w", "b"], ["z"], name="fc1", transB=1)
OWN = {"w": W, "b": B, "w2": W2}


def port(name, kind, shape):
    return helper.make_tensor_value_info(
        name, kind, ["any" if d is None else d for d in shape])


def build(nodes, constants, shape=(None, 4), outputs=("y",), opset=17,
          kind=TensorProto.FLOAT, more_inputs=(), result=TensorProto.FLOAT,
          domains=()):
    graph = helper.make_graph(
        nodes, "net", [port("x", kind, shape), *more_inputs],
        [port(name, result, (None, None)) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name)
         for name, value in constants.items()])
    return helper.make_model(
        graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", opset),
            helper.make_opsetid("ai.onnx.ml", 3),
            *(helper.make_opsetid(domain, 1) for domain in domains)])


def refused(name, words, model, broken=False, options=()):
    if not broken:
        onnx.checker.check_model(model)
    with open(path(f"refused-{name}"), "wb") as file:
        file.write(model.SerializeToString())
    case(f"refused-{name}", refused=list(words), options=options)


def within(name, words, kind, inputs=("z",), constants=None, opset=17, **how):
    """One node named "odd" between two dense layers."""
    refused(name, [f'node "odd" ({kind})', *words], build(
        [FIRST, node(kind, list(inputs), ["h"], name="odd", **how),
         node("Gemm", ["h", "w2"], ["y"], name="fc2", transB=1)],
        {**OWN, **(constants or {})}, opset=opset))


# Layers

image = (None, 1, 8, 8)
tail = [node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1)]
refused("conv", ['node "conv1" (Conv)', LAYER, ELSEWHERE], build(
    [node("Conv", ["x", "k"], ["c"], name="conv1"), *tail],
    {"k": floats(2, 1, 3, 3), "w": floats(3, 72)}, shape=image))
refused("pool", ['node "pool1" (MaxPool)', LAYER, ELSEWHERE], build(
    [node("MaxPool", ["x"], ["c"], name="pool1", kernel_shape=[2, 2]), *tail],
    {"w": floats(3, 49)}, shape=image))
for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    recurrent = [node(kind, ["x", "lw", "lr"], ["y"], name="memory",
                      hidden_size=5)]
    weights = {"lw": floats(1, 5 * gates, 4), "lr": floats(1, 5 * gates, 5)}
    refused(kind.lower(), [f'node "memory" ({kind})', LAYER, ELSEWHERE],
            build(recurrent, weights, shape=(7, 1, 4)))
refused("lstm-dynamic", ["dimension 1 has no fixed size",
                         "export the model with one",
                         'and node "memory" (LSTM)', LAYER, ELSEWHERE],
        build([node("LSTM", ["x", "lw", "lr"], ["y"], name="memory",
                    hidden_size=5)],
              {"lw": floats(1, 20, 4), "lr": floats(1, 20, 5)},
              shape=(7, None, 4)))
refused("tokens", ['node "q" (MatMul)', "same weights to 5 parts",
                   "flatten before"],
        build([node("MatMul", ["x", "w"], ["q"], name="q"),
               node("Softmax", ["q"], ["y"], axis=-1)],
              {"w": floats(4, 3)}, shape=(None, 5, 4)))
refused("embedding", ['node "emb" (Gather)', LAYER, ELSEWHERE], build(
    [node("Gather", ["e", "x"], ["g"], name="emb"),
     node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w"], ["y"])],
    {"e": floats(10, 3), "w": floats(12, 2)}, kind=TensorProto.INT64))
refused("einsum", ['node "es" (Einsum)', LAYER, ELSEWHERE], build(
    [node("Einsum", ["x", "w"], ["y"], name="es", equation="bi,oi->bo")],
    {"w": W}))
refused("slice", ['node "cut" (Slice)', LAYER, ELSEWHERE], build(
    [node("Slice", ["x", "from", "to", "axis"], ["s"], name="cut"),
     node("Gemm", ["s", "w"], ["y"])],
    {"from": np.array([0]), "to": np.array([2]), "axis": np.array([1]),
     "w": floats(2, 3)}))
within("layer-norm", [LAYER, "train with batch normalisation"],
       "LayerNormalization", ("z", "b"))
within("pow", [LAYER, ELSEWHERE], "Pow", ("z", "two"), {"two": np.float32(2)})
refused("trees", ['node "trees" (TreeEnsembleRegressor)', LAYER, ELSEWHERE],
        build([node("TreeEnsembleRegressor", ["x"], ["y"], name="trees",
                    domain="ai.onnx.ml")], {}))
refused("svm", ['node "svm" (SVMClassifier)', LAYER, ELSEWHERE], build(
    [node("SVMClassifier", ["x"], ["l", "y"], name="svm",
          domain="ai.onnx.ml")], {}))
deep = []
for i in range(33):
    deep += [node("MatMul", ["x" if i == 0 else f"h{i}", "w"],
                  ["y" if i == 32 else f"z{i}"], name=f"fc{i}")]
    deep += [node("Relu", [f"z{i}"], [f"h{i + 1}"])] if i < 32 else []
refused("deep", ['node "fc32" (MatMul)', "more than 32 dense layers",
                 "a network of fewer"], build(deep, {"w": floats(4, 4)}))

# Activations

for kind, opset in (("Elu", 17), ("Selu", 17), ("Celu", 17), ("Softplus", 17),
                    ("Softsign", 17), ("HardSigmoid", 17), ("HardSwish", 17),
                    ("Mish", 18), ("ThresholdedRelu", 17), ("Gelu", 20)):
    within(kind.lower(), ACTIVATION, kind, opset=opset)
for kind in ("Erf", "Exp", "Abs", "Sin", "Sign", "Sqrt"):
    within(kind.lower(), [LAYER, ELSEWHERE], kind)
within("relu6", ["cuts off above", *ACTIVATION[1:]], "Clip",
       ("z", "low", "high"), {"low": np.float32(0), "high": np.float32(6)})
within("softmax-inside", ["only at the end", "such as sigmoid"], "Softmax",
       axis=-1)
within("steep-prelu", ["some above 1", "train with one slope"], "PRelu",
       ("z", "slopes"), {"slopes": np.array([.1, 2, .3], np.float32)})
refused("silu", ['node "silu" (Mul)', "SiLU (swish)", *ACTIVATION[1:]], build(
    [FIRST, node("Sigmoid", ["z"], ["s"]),
     node("Mul", ["z", "s"], ["h"], name="silu"),
     node("Gemm", ["h", "w2"], ["y"])], OWN))

# Branches

refused("residual", ['node "skip" (Add)', *CHAIN], build(
    [node("Gemm", ["x", "w"], ["z"], name="fc1"), node("Relu", ["z"], ["r"]),
     node("Add", ["r", "x"], ["a"], name="skip"),
     node("Gemm", ["a", "w"], ["y"])], {"w": floats(4, 4)}))
refused("square", ['node "sq" (Mul)', *CHAIN], build(
    [FIRST, node("Mul", ["z", "z"], ["y"], name="sq")], OWN))
refused("join", ['node "join" (Concat)', *CHAIN], build(
    [FIRST, node("Relu", ["z"], ["r"]), node("Tanh", ["z"], ["t"]),
     node("Concat", ["r", "t"], ["c"], name="join", axis=1),
     node("Gemm", ["c", "w6"], ["y"])], {**OWN, "w6": floats(6, 2)}))
refused("divides", ['node "odd" (Div)', "depends on the input",
                    "before the request"], build(
    [FIRST, node("Div", ["b", "z"], ["y"], name="odd")], OWN))
refused("two-heads", ['several outputs, "y" and "v"', "--output NAME"], build(
    [FIRST, node("Gemm", ["z", "w2"], ["y"]), node("Relu", ["z"], ["v"])],
    OWN, outputs=("y", "v")))
refused("wrong-head", ['there is no value "nobody"'], build(
    [FIRST, node("Softmax", ["z"], ["y"])], OWN),
    options=("--output", "nobody"))
refused("if", ['node "branch" (If)', LAYER, ELSEWHERE], build(
    [FIRST,
     node("If", ["yes"], ["y"], name="branch",
          then_branch=helper.make_graph(
              [node("Relu", ["z"], ["p"])], "then", [],
              [port("p", TensorProto.FLOAT, (None, 3))]),
          else_branch=helper.make_graph(
              [node("Tanh", ["z"], ["q"])], "else", [],
              [port("q", TensorProto.FLOAT, (None, 3))]))],
    {**OWN, "yes": np.array(True)}))

# Weights

refused("given-weights", ['two inputs, "x" and "v"', "has one; join them"],
        build([node("MatMul", ["x", "v"], ["y"], name="mm")], {},
              more_inputs=[port("v", TensorProto.FLOAT, (4, 3))]))
refused("made-weights", ['node "mm" (MatMul)', "depends on the input",
                         "the weights must be in the file"], build(
    [FIRST, node("MatMul", ["z", "z"], ["y"], name="mm")], OWN,
    shape=(3, 4)))
refused("whole-weights", ['node "mm" (MatMul)', "its constants are integers",
                          "export the model in float32"], build(
    [node("MatMul", ["x", "w"], ["y"], name="mm")],
    {"w": np.ones((4, 3), np.int64)}, kind=TensorProto.INT64,
    result=TensorProto.INT64))
refused("quantized", ['node "dq" (DynamicQuantizeLinear)', LAYER, FLOAT32],
        build([node("DynamicQuantizeLinear", ["x"], ["q", "s", "o"], name="dq"),
               node("MatMulInteger", ["q", "w", "o"], ["m"], name="mm"),
               node("Cast", ["m"], ["y"], to=1)],
              {"w": np.ones((4, 3), np.int8)}))
refused("quantized-weights", ['node "dq" (DequantizeLinear)', LAYER, FLOAT32],
        build([node("DequantizeLinear", ["q", "s", "o"], ["w"], name="dq"),
               node("Gemm", ["x", "w"], ["y"], transB=1)],
              {"q": np.ones((3, 4), np.int8), "s": np.float32(.1),
               "o": np.int8(0)}))
refused("nan", ['tensor "w"', "not all of its values are finite",
                "the training went wrong"], build(
    [node("Gemm", ["x", "w"], ["y"], transB=1)],
    {"w": np.full((3, 4), np.nan, np.float32)}))
huge = build([node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": W})
huge.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
refused("huge", ['tensor "w"', "no sensible shape", "export it again"], huge,
        broken=True)
large = build([node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": W})
large.graph.initializer[0].dims[:] = [1 << 15, 1 << 15]
refused("large", ['tensor "w"', "not as many values as its shape says"], large,
        broken=True)
outside = build([node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": W})
for location, why in (("nowhere.data", "opening"),
                      ("../up.data", "only a file in the same folder"),
                      ("/etc/passwd", "only a file in the same folder")):
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    refused("outside-" + location.replace("/", "_"),
            ['tensor "w"', "its data are in", location, why], outside,
            broken=True)

# Shapes

refused("too-wide", ['node "fc1" (Gemm)', "weights for 5 values, it gets 4",
                     "export it again"], build(
    [node("Gemm", ["x", "w"], ["y"], name="fc1", transB=1)],
    {"w": floats(3, 5)}))
refused("long-bias", ['node "fc1" (Gemm)', "constant of 7 values",
                      "which has 3 here", "a batch of any size"], build(
    [FIRST], {"w": W, "b": floats(7)}, outputs=("z",)))
refused("bias-by-row", ['node "fc1" (Gemm)', "constant of 2 values",
                        "a batch of any size"], build(
    [FIRST], {"w": W, "b": floats(2, 1)}, outputs=("z",), shape=(2, 4)))
refused("turned", ['node "fc1" (Gemm)', "transA=0",
                   "the batch as first dimension"], build(
    [node("Gemm", ["x", "w"], ["y"], name="fc1", transA=1)],
    {"w": floats(4, 3)}, shape=(4, None)))
refused("from-the-left", ['node "mm" (MatMul)', "its first input",
                          "whose examples are the rows"], build(
    [node("MatMul", ["w", "x"], ["y"], name="mm")], {"w": W}, shape=(4, 1)))
refused("transposed", ['node "tr" (Transpose)', "mixes the examples",
                       "a first dimension that is the batch"], build(
    [node("Transpose", ["x"], ["t"], name="tr", perm=[1, 0]),
     node("Gemm", ["t", "w"], ["y"], transB=1)], {"w": W}))
refused("no-size", ["dimension 1 has no fixed size",
                    "export the model with one"], build(
    [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"])],
    {"w": floats(8, 3)}, shape=(None, None, None)))
refused("vast-input", ["an input of more than 1048576 values"], build(
    [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"])],
    {"w": floats(8, 3)}, shape=(None, 1 << 30, 1 << 30)))
refused("text", ["the input is text", "encode it before the request"], build(
    [node("Gemm", ["x", "w"], ["y"], transB=1)], {"w": W},
    kind=TensorProto.STRING))

# What the file is

refused("old-opset", ["opset 6, 7 or later is read", "export the model again"],
        build([FIRST, node("Relu", ["z"], ["y"])], OWN, opset=6), broken=True)
refused("foreign", ['node "mine" (FusedGelu)', 'the domain "com.example"',
                    "export the model without such"], build(
    [FIRST, node("FusedGelu", ["z"], ["y"], name="mine",
                 domain="com.example")], OWN, domains=("com.example",)))
refused("training-dropout", ['node "drop" (Dropout)', INFERENCE], build(
    [FIRST, node("Dropout", ["z", "ratio", "yes"], ["y"], name="drop")],
    {**OWN, "ratio": np.float32(.5), "yes": np.array(True)}))
refused("training-batch-norm", ['node "bn" (BatchNormalization)', INFERENCE],
        build([FIRST, node("BatchNormalization", ["z", "b", "b", "b", "v"],
                           ["y", "m", "v2"], name="bn", training_mode=1)],
              {**OWN, "v": np.abs(B)}))
refused("one-score", ['node "fc1" (Gemm)', "does not say what for",
                      "--loss hinge", "--loss logistic"], build(
    [node("Gemm", ["x", "w"], ["y"], name="fc1", transB=1)],
    {"w": floats(1, 4)}))
refused("many-sigmoids", ['node "out" (Sigmoid)', "does not say what for",
                          "--loss multiclass_hinge"], build(
    [FIRST, node("Sigmoid", ["z"], ["y"], name="out")], OWN))
refused("wrong-loss", ["--loss logistic", "makes it softmax_cross_entropy"],
        build([FIRST, node("Softmax", ["z"], ["y"])], OWN),
        options=("--loss", "logistic"))
refused("nothing-in-it", ["no dense layer (Gemm, MatMul)"], build(
    [node("Identity", ["x"], ["y"])], {}))
for name, size in (("cut-short", 200), ("empty", 0)):
    refused(name, ["not an ONNX file"], outside, broken=True)
    whole = (folder / "refused-conv.onnx").read_bytes()
    (folder / f"refused-{name}.onnx").write_bytes(whole[:size])
