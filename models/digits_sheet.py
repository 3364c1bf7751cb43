#!/usr/bin/env python3
"""Turns a sheet of digits into IDX files as MNIST's.

    digits_sheet.py SHEET.png FOLDER

The sheet is digits.png of Debian's package opencv-doc (OpenCV, Apache License
2.0): 50 rows of 100 digits, five rows a digit. They are MNIST-like pictures
that were scaled to 20 x 20 pixels; this scales them back to 28 x 28.
"""
import gzip
import os
import struct
import sys

from PIL import Image

SMALL, SIDE = 20, 28


def main():
    sheet, folder = Image.open(sys.argv[1]).convert("L"), sys.argv[2]
    columns, rows = sheet.width // SMALL, sheet.height // SMALL
    images, labels = bytearray(), bytearray()
    for row in range(rows):
        for column in range(columns):
            box = (column * SMALL, row * SMALL)
            tile = sheet.crop(box + (box[0] + SMALL, box[1] + SMALL))
            images += tile.resize((SIDE, SIDE), Image.BICUBIC).tobytes()
            labels.append(row * 10 // rows)
    os.makedirs(folder, exist_ok=True)
    count = len(labels)
    with gzip.open(f"{folder}/train-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4I", 0x803, count, SIDE, SIDE) + images)
    with gzip.open(f"{folder}/train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2I", 0x801, count) + labels)


main()
