"""PyTorch's networks, by the exporter that the second word names: script or
dynamo."""
import logging
import sys
import warnings

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from cases import case, fashion, folder, path, save_real

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.manual_seed(1)


class Net(nn.Module):
    """Two layers around whatever `forward` is given."""

    def __init__(self, forward, inputs=12, hidden=8, outputs=4, **more):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(outputs if "wide" in more else hidden, outputs)
        self.between = forward
        self.register_buffer("mean", torch.tensor([.4, .5, .3]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([.2, .3, .25]).view(3, 1, 1))

    def forward(self, x):
        return self.between(self, x)


class Pieces(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 6), nn.Linear(12, 6)
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        return self.out(torch.maximum(self.a(x), self.b(x)))


class Reshaped(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.wide, self.out, self.by = nn.Linear(12, 18), nn.Linear(6, 4), by

    def forward(self, x):
        return self.out(self.by(self.wide(x)))


def mixed(net):
    """Statistics and slopes as after some training."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(.5, 2)
            nn.init.uniform_(module.weight, -1, 1)
            nn.init.uniform_(module.bias, -1, 1)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -1, 1)
    return net


S = nn.Sequential
HINGE = ["--loss", "multiclass_hinge"]
# name: network, the shape of one input, then how case() is told.
NETS = {
    "relu": (S(nn.Linear(12, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4)),
             (12,), dict(answer="softmax")),
    "scores": (S(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)), (12,),
               dict(options=HINGE)),
    "linear": (nn.Linear(12, 4), (12,), dict(answer="softmax")),
    "softmax": (S(nn.Flatten(), nn.Linear(12, 8, bias=False), nn.Tanh(),
                  nn.Linear(8, 4), nn.Softmax(-1)), (1, 3, 4), {}),
    "log_softmax": (S(nn.Linear(12, 8), nn.Sigmoid(), nn.Linear(8, 4),
                      nn.LogSoftmax(1)), (12,), dict(answer="exp")),
    "sigmoid": (S(nn.Linear(12, 1), nn.Sigmoid()), (12,), dict(answer="two")),
    "one_score": (S(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1)), (12,),
                  dict(options=["--loss", "hinge"])),
    "squeezed": (Net(lambda s, x: torch.sigmoid(
        s.fc2(torch.relu(s.fc1(x)))).squeeze(-1), outputs=1), (12,),
        dict(answer="two")),
    "three_dimensions": (S(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)),
                         (1, 12), dict(answer="softmax")),
    "deep": (S(*[m for _ in range(10) for m in (nn.Linear(12, 12), nn.Tanh())],
               nn.Linear(12, 4)), (12,), dict(answer="softmax")),
    "two_linear": (S(nn.Linear(12, 8), nn.Linear(8, 4)), (12,),
                   dict(answer="softmax")),
    "batch_norm": (mixed(S(nn.BatchNorm1d(12), nn.Linear(12, 8),
                           nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8),
                           nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8),
                           nn.Sigmoid(), nn.BatchNorm1d(8), nn.Softmax(1))),
                   (12,), {}),
    "leaky": (S(nn.Linear(12, 8), nn.LeakyReLU(.2), nn.Linear(8, 4)), (12,),
              dict(answer="softmax")),
    "prelu": (S(nn.Linear(12, 8), nn.PReLU(), nn.Linear(8, 4)), (12,),
              dict(answer="softmax")),
    "prelu_each": (mixed(S(nn.Linear(12, 8), nn.PReLU(8), nn.Linear(8, 4))),
                   (12,), dict(answer="softmax")),
    "view": (Net(lambda s, x: s.fc2(torch.relu(
        s.fc1(x.view(x.size(0), -1))))), (3, 2, 2), dict(answer="softmax")),
    "reshape": (Net(lambda s, x: s.fc2(torch.tanh(
        s.fc1(x.reshape(-1, 12))))), (3, 4), dict(answer="softmax")),
    "unflatten": (S(nn.Unflatten(1, (3, 4)), nn.Flatten(), nn.Linear(12, 4)),
                  (12,), dict(answer="softmax")),
    "permuted": (Net(lambda s, x: s.fc2(torch.relu(
        s.fc1(x.permute(0, 2, 3, 1).flatten(1))))), (3, 2, 2),
        dict(answer="softmax")),
    "scalar_norm": (Net(lambda s, x: s.fc2(torch.relu(s.fc1(
        ((x - .1307) / .3081).flatten(1))))), (1, 3, 4),
        dict(answer="softmax")),
    "channel_norm": (Net(lambda s, x: s.fc2(torch.relu(s.fc1(
        ((x - s.mean) / s.std).flatten(1))))), (3, 2, 2),
        dict(answer="softmax")),
    "bytes": (Net(lambda s, x: s.fc2(torch.relu(s.fc1(
        (x.float() / 255).flatten(1))))), (3, 2, 2), dict(answer="softmax")),
    "negative_scale": (Net(lambda s, x: s.fc2(torch.relu(s.fc1(
        (1 - 2 * x))))), (12,), dict(answer="softmax")),
    "clamp": (Net(lambda s, x: s.fc2(s.fc1(x).clamp(min=0))), (12,),
              dict(answer="softmax")),
    "double_activation": (S(nn.Linear(12, 8), nn.ReLU(), nn.Tanh(),
                            nn.Linear(8, 4)), (12,), dict(answer="softmax")),
    "activated_scores": (S(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4),
                           nn.Sigmoid()), (12,), dict(options=HINGE)),
    "maxout": (Pieces(), (12,), dict(answer="softmax")),
    "maxout_view": (Reshaped(lambda z: z.view(-1, 3, 6).max(1)[0]), (12,),
                    dict(answer="softmax")),
    "maxout_last": (Reshaped(lambda z: z.view(-1, 6, 3).amax(2)), (12,),
                    dict(answer="softmax")),
    # What soma cannot express, and the words that say why.
    "no_elu": (S(nn.Linear(12, 8), nn.ELU(), nn.Linear(8, 4)), (12,),
               dict(refused="(Elu): soma does not have the activation")),
    "no_gelu": (S(nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 4)), (12,),
                dict(refused="(Gelu): soma does not have the activation")),
    "no_silu": (S(nn.Linear(12, 8), nn.SiLU(), nn.Linear(8, 4)), (12,),
                dict(refused="SiLU (swish); there are: identity")),
    "no_relu6": (S(nn.Linear(12, 8), nn.ReLU6(), nn.Linear(8, 4)), (12,),
                 dict(refused="(Clip): soma does not have the activation")),
    "no_layer_norm": (S(nn.Linear(12, 8), nn.LayerNorm(8), nn.ReLU(),
                        nn.Linear(8, 4)), (12,),
                      dict(refused="(LayerNormalization): soma has no layer")),
    "no_conv": (S(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(4, 4)),
                (1, 3, 4), dict(refused="(Conv): soma has no layer for this")),
    "no_skip": (Net(lambda s, x: s.fc2(s.fc1(x) + torch.relu(s.fc1(x)))),
                (12,), dict(refused="one chain, without branches")),
    "no_loss": (S(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1)), (12,),
                dict(refused="--loss hinge answers with this value")),
    "no_several": (S(nn.Linear(12, 4), nn.Sigmoid()), (12,),
                   dict(refused="--loss multiclass_hinge answers with these")),
    "no_shared": (S(nn.Linear(4, 8), nn.ReLU(), nn.Flatten(),
                    nn.Linear(24, 4)), (3, 4),
                  dict(refused="the same weights to 3 parts of an example")),
}


dynamo = sys.argv[2] == "dynamo"


def export(net, shape, name, **more):
    x = torch.rand(2, *shape)
    if name.startswith("bytes"):
        x = (x * 255).to(torch.uint8)
    full = f"{name}.{sys.argv[2]}"
    if dynamo:
        torch.onnx.export(net, (x,), path(full), dynamo=True, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("n")},), **more)
    else:
        torch.onnx.export(net, (x,), path(full), dynamo=False,
                          input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, **more)
    return full


def trained(images, labels):
    net = S(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    step = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9)
    x, y = torch.tensor(images / 255).unsqueeze(1), torch.tensor(labels)
    for _ in range(3):
        for at in range(0, len(x), 100):
            step.zero_grad()
            F.cross_entropy(net(x[at:at + 100]), y[at:at + 100]).backward()
            step.step()
    return net


for name, (net, shape, how) in NETS.items():
    case(export(net.eval(), shape, name), **how)

if dynamo:  # one example, without a batch
    torch.onnx.export(NETS["relu"][0], (torch.rand(12),),
                      path("single.dynamo"), dynamo=True, verbose=False)
    case("single.dynamo", "softmax")
else:
    torch.onnx.export(NETS["view"][0], (torch.rand(2, 3, 2, 2),),
                      path("fixed_batch.script"), dynamo=False)
    case("fixed_batch.script", "softmax")
    half = S(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)).half()
    torch.onnx.export(half, (torch.rand(2, 12).half(),), path("half.script"),
                      dynamo=False, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    case("half.script", "softmax")
    # Opsets that people still have.
    for opset in (9, 11, 13, 17):
        for name in ("softmax", "view", "prelu_each", "batch_norm", "clamp"):
            net, shape, how = NETS[name]
            case(export(net, shape, f"{name}.opset{opset}",
                        opset_version=opset), **how)

# Real images; as dynamo writes it, with the weights in a file beside.
images, labels = fashion(5000)
net = trained(images, labels).eval()
test, _ = fashion(200, train=False)
real = save_real(f"torch_real_{sys.argv[2]}", test[:, None])
case(export(net, (1, 28, 28), "fashion"), "softmax", ["--scale", "255"],
     real=real, scale=255.0)

if not dynamo:  # a state_dict, and what the network says
    save_file(net.state_dict(), folder / "state_dict.safetensors")
    with torch.no_grad():
        np.save(folder / "state_dict.answers.npy",
                net(torch.tensor(test / 255)).softmax(1).numpy())
