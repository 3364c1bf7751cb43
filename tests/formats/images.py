"""Real images: Fashion-MNIST, from Debian."""
import gzip
import pathlib

import numpy as np

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def fashion(count, train=True):
    """Images [count, 28, 28] from 0 to 255, and labels."""
    stem = "train" if train else "t10k"
    images = gzip.decompress(
        (FASHION / f"{stem}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress(
        (FASHION / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    return (np.frombuffer(images, np.uint8, count * 784, 16)
            .reshape(count, 28, 28).astype(np.float32),
            np.frombuffer(labels, np.uint8, count, 8).astype(np.int64))
