"""Keras' networks, by its own export and by tf2onnx; or, with the word torch,
by Keras' export from its PyTorch backend."""
import os
import sys
import warnings

backend = sys.argv[2] if len(sys.argv) > 2 else "tensorflow"
os.environ["KERAS_BACKEND"] = backend
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers as L  # noqa: E402

from cases import case, fashion, path, save_real  # noqa: E402

keras.utils.set_random_seed(1)
In, D = keras.Input, L.Dense
NETS = {
    "dense": ([In((12,)), D(8, "relu"), L.Dropout(.5), D(4, "softmax")], {}),
    "rescaled": ([In((4, 3, 1)), L.Rescaling(1 / 255), L.Flatten(),
                  D(8, "relu"), D(4, "softmax")], {}),
    "offset": ([In((12,)), L.Rescaling(1 / 127.5, offset=-1), D(8, "tanh"),
                D(4, "softmax")], {}),
    "batch_norm": ([In((12,)), D(8, use_bias=False), L.BatchNormalization(),
                    L.ReLU(), L.BatchNormalization(), D(1, "sigmoid")],
                   dict(answer="two")),
    "leaky": ([In((12,)), D(8), L.LeakyReLU(negative_slope=.1), D(4)],
              dict(answer="softmax")),
    "prelu": ([In((12,)), D(8), L.PReLU(
        alpha_initializer=keras.initializers.RandomUniform(-.5, .9)), D(4)],
        dict(answer="softmax")),
    "channels": ([In((2, 2, 3)), L.Flatten(), D(8, "relu"), D(4)],
                 dict(answer="softmax")),
    "planes": ([In((2, 2, 3)), L.Flatten(), D(8, "relu"), D(4)],
               dict(answer="softmax", options=["--planes"])),
    "reshape": ([In((2, 6)), L.Reshape((12,)), D(8, "sigmoid"), D(4),
                 L.Activation("log_softmax")], dict(answer="exp")),
    "permute": ([In((2, 6)), L.Permute((2, 1)), L.Flatten(), D(4)],
                dict(answer="softmax")),
    "maxout": ([In((12,)), D(18), L.Reshape((3, 6)), L.GlobalMaxPooling1D(),
                D(4)], dict(answer="softmax")),
    "no_relu6": ([In((12,)), D(8), L.ReLU(max_value=6), D(4)],
                 dict(refused="(Clip): soma does not have the activation")),
    "no_elu": ([In((12,)), D(8, "elu"), D(4)],
               dict(refused="soma does not have the activation"
                    if backend == "tensorflow" else "soma ")),
    "no_swish": ([In((12,)), D(8, "swish"), D(4)],
                 dict(refused="SiLU (swish); there are")),
    "no_normalization": ([In((12,)), L.Normalization(
        mean=[.5] * 12, variance=[.1] * 12), D(4)],
        dict(refused="two inputs")),
    "no_conv": ([In((4, 3, 1)), L.Conv2D(2, 2), L.Flatten(), D(4)],
                dict(refused="soma ")),
}
if backend == "tensorflow":
    # Keras' exporter takes it for an input there, and loses its constants.
    NETS["no_layer_norm"] = (
        [In((12,)), D(8), L.LayerNormalization(), D(4)],
        dict(refused="soma has no layer for this operator"))
else:  # the other way round: this one is exported well, that one not at all
    NETS["normalization"] = (NETS.pop("no_normalization")[0],
                             dict(answer="softmax"))


def moved(model):
    """Statistics of batch normalisation as after some training."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([random.uniform(.5, 1.5, w.shape)
                               for w in layer.get_weights()])
    return model


def with_tf2onnx(model, name):
    import tensorflow as tf
    import tf2onnx
    shape = tf.TensorSpec((None,) + model.input_shape[1:], tf.float32, name="x")
    call = tf.function(lambda x: model(x), input_signature=[shape])
    tf2onnx.convert.from_function(call, input_signature=[shape], opset=13,
                                  output_path=path(name))


def export(model, name, **how):
    model(np.zeros((1,) + model.input_shape[1:], np.float32))
    full = f"keras_{name}.{'export' if backend == 'tensorflow' else 'torch'}"
    model.export(path(full), format="onnx", verbose=False)
    case(full, **how)
    if backend == "tensorflow":
        with_tf2onnx(model, f"keras_{name}.tf2onnx")
        case(f"keras_{name}.tf2onnx", **how)


for name, (parts, how) in NETS.items():
    export(moved(keras.Sequential(parts)), name, **how)

images, labels = fashion(5000)
model = keras.Sequential([In((28, 28, 1)), L.Rescaling(1 / 255), L.Flatten(),
                          D(64, "relu"), D(10, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images[..., None], labels, epochs=2, verbose=0)
test, _ = fashion(200, train=False)
export(model, "fashion",
       real=save_real(f"keras_real_{backend}", test[..., None]))
