#!/bin/sh
# Trains all shipped models again and says how they do on their full test
# sets. About 25 minutes on two cores, most of it for cifar10-deep. The same
# seed, number of threads and CPU type give the same weights.
set -eu
cd "$(dirname "$0")/.."
soma=${SOMA:-build/gcc/soma}
fashion=/usr/share/datasets/fashion-mnist
names="T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"

train() { # train NAME DATASET options...
    name=$1
    dataset=$2
    shift 2
    "$soma" train --dataset "$dataset" --out "models/$name.safetensors" \
        --validation 0 --f16 "$@"
    "$soma" evaluate "models/$name.safetensors" --dataset "$dataset" | head -n1
}

train mnist data/mnist --hidden 128 --epochs 40 --shift 1 --dropout 0.1
# MNIST's pictures may not ship; those of the sheet may.
sheet=/usr/share/doc/opencv-doc/examples/data/digits.png
python3 models/digits_sheet.py "$sheet" build/digits
"$soma" train --from models/mnist.safetensors --epochs 0 \
    --dataset build/digits/train-images-idx3-ubyte.gz \
    --memory 500 --guard 500 --f16 --out models/mnist.safetensors
train fashion "$fashion" --classes "$names" --hidden 256,128 --epochs 40 \
    --shift 1 --flip --dropout 0.15 --clip 2 --memory 500 --guard 500
train neuron "$fashion" --classes "$names" --versus-rest 9 --hidden none \
    --loss logistic --epochs 20 --learning-rate 0.01
train neuron-svm "$fashion" --classes "$names" --versus-rest 9 --hidden none \
    --loss hinge --epochs 20 --learning-rate 0.002
train cifar10-linear data/cifar10 --hidden none --epochs 30 \
    --learning-rate 0.002 --l2 0.05 --flip
train cifar10 data/cifar10 --hidden 100 --epochs 40 --learning-rate 0.03 \
    --shift 2 --flip
train cifar10-deep data/cifar10 --hidden 1024,256 --epochs 100 \
    --learning-rate 0.03 --l2 0.003 --shift 1 --flip --clip 1 --dropout 0.15
