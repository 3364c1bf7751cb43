"""Writes the seeds of the targets for files and requests to corpus/<target>/.

Run it by hand after a change: python3 tests/fuzz/seeds.py. What fuzzing has
found lies beside them and is left alone. Needs only Python and libturbojpeg.
"""
import ctypes
import gzip
import hashlib
import io
import json
import os
import struct
import zipfile
import zlib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as file:
        file.write(data)


def f32(*values):
    return struct.pack("<%df" % len(values), *values)


def safetensors(tensors, meta=None):
    header, data = {}, b""
    if meta:
        header["__metadata__"] = meta
    for name, dtype, shape, values in tensors:
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def two(first, second):
    return struct.pack("<H", len(first)) + first + second


RAMP = f32(*[i / 8 for i in range(12)])
LAYER = [("layers.0.bias", "F32", [3], f32(.5, 0, -1)),
         ("layers.0.weight", "F32", [3, 4], RAMP)]
SPEC = {"format": 1, "input": {"shape": [4], "range": [0, 255],
                               "mean": [1], "std": [2]},
        "layers": [{"units": 3, "activation": "identity"}],
        "loss": "softmax_cross_entropy", "classes": ["a", "b", "c"]}


def tensors():
    put("safetensors", "floats", safetensors(LAYER, {"a": "b"}))
    put("safetensors", "kinds", safetensors([
        ("a", "F16", [2], b"\0\x3c\0\x40"), ("b", "BF16", [2], b"\x80\x3f\0\x40"),
        ("c", "F64", [1], struct.pack("<d", 2.5)),
        ("d", "U8", [2, 2], b"\1\2\3\4"), ("e", "I64", [1], b"\1" + bytes(7)),
        ("f", "F32", [], f32(7)), ("g", "F32", [0, 3], b"")]))
    put("safetensors", "nan", safetensors(
        [("a", "F32", [2], f32(float("nan"), float("inf")))]))
    put("safetensors", "empty", safetensors([]))
    put("safetensors", "huge-shape",
        safetensors([("a", "F32", [1 << 62, 4], f32(1))]))
    put("safetensors", "long-header", struct.pack("<Q", 1 << 62) + b"{}")


def model(spec, layers):
    return safetensors(layers, {"soma": json.dumps(spec)})


def checkpoints():
    put("checkpoint", "linear", model(SPEC, LAYER))
    put("checkpoint", "memory", model(SPEC, LAYER + [
        ("memory.x", "U8", [2, 4], bytes(range(8))),
        ("memory.labels", "U8", [2], b"\0\2"),
        ("guard.x", "F32", [1, 4], f32(1, 2, 3, 4)),
        ("guard.labels", "I32", [1], struct.pack("<i", 1))]))
    deep = dict(SPEC, input={"shape": [1, 2, 2], "range": [-1, 1]},
                layers=[{"units": 2, "activation": "maxout", "pieces": 2},
                        {"units": 1, "activation": "identity"}],
                loss="logistic")
    del deep["classes"]
    put("checkpoint", "maxout", model(deep, [
        ("layers.0.bias", "F32", [2, 2], f32(0, 1, 2, 3)),
        ("layers.0.weight", "F32", [2, 2, 4], f32(*range(16))),
        ("layers.1.bias", "F16", [1], b"\0\x3c"),
        ("layers.1.weight", "F16", [1, 2], b"\0\x3c\0\x40")]))
    put("checkpoint", "huge-layer", model(
        dict(SPEC, layers=[{"units": 1048576, "activation": "relu"}]), LAYER))
    sidecar = {"input": {"shape": [4], "range": [0, 255]},
               "layers": [{"activation": "relu"}, {"activation": "identity"}],
               "loss": "softmax_cross_entropy"}
    dense = [("0.bias", "F32", [3], f32(.5, 0, -1)),
             ("0.weight", "F32", [3, 4], RAMP),
             ("2.bias", "F32", [2], f32(1, 2)),
             ("2.weight", "F32", [2, 3], f32(*range(6)))]
    put("state_dict", "two", two(json.dumps(sidecar).encode(),
                                 safetensors(dense, {"format": "pt"})))
    put("state_dict", "named", two(
        b'{"activation":"tanh","loss":"hinge","input":{"range":[0,1]}}',
        safetensors([("fc.weight", "F32", [1, 4], f32(1, 2, 3, 4))])))


def datasets():
    labels = struct.pack(">II", 0x801, 3) + b"\0\1\2"
    images = struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12))
    put("idx", "plain", two(labels, images))
    put("idx", "gzip", two(gzip.compress(labels, mtime=0),
                           gzip.compress(images, mtime=0)))
    put("idx", "floats", two(labels, struct.pack(">III", 0xd02, 3, 4) +
                             struct.pack(">12f", *range(12))))
    put("idx", "huge", two(struct.pack(">II", 0x801, 1 << 31), struct.pack(
        ">IIII", 0x803, 1 << 31, 65535, 65535)))
    put("idx", "bomb", two(labels, gzip.compress(
        struct.pack(">IIII", 0x803, 3, 1024, 1024) + bytes(3 << 20), mtime=0)))
    put("csv", "numbers", b"\0" b"1,2,3\n0,5,6.5\n1,-7e1,8\n")
    put("csv", "header", b"\1" b"a,b,label\n1,2,cat\n3,4,dog\n")
    put("csv", "quoted", b"\3" b'"a","label",b\r\n 1 ,"cat",2\r\n3,"d""og",4\r\n')
    put("csv", "not-finite", b"\0" b"1,nan,inf\n")
    put("csv", "nul", b"\0" b"1,2\0,3\n")


def npy(kind, shape, data, version=1):
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (
        kind, repr(tuple(shape)))
    text += " " * (-(len(text) + 11) % 64) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + data


def numpy():
    images = npy("|u1", (3, 2, 2), bytes(range(12)))
    labels = npy("<i8", (3,), struct.pack("<3q", 0, 1, 2))
    floats = npy(">f8", (2, 3), struct.pack(">6d", *range(6)), 2)
    put("npy", "pair", b"\1" + two(labels, images))
    put("npy", "floats", b"\1" + two(npy("|b1", (2,), b"\0\1"), floats))
    put("npy", "huge", b"\1" + two(labels, npy("<f4", (1 << 40, 1 << 30), b"")))
    for name, kind in (("stored", zipfile.ZIP_STORED),
                       ("deflated", zipfile.ZIP_DEFLATED)):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", kind) as archive:
            for member, data in (("x", images), ("y", labels)):
                archive.writestr(zipfile.ZipInfo(member + ".npy"), data, kind)
        put("npy", name, b"\0" + file.getvalue())
    # 2 MB of zeros in 2 KB; and the same that claims to be 4 GB.
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("x.npy"),
                         npy("|u1", (2, 1 << 20), bytes(2 << 20)),
                         zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("y.npy"), npy("|u1", (2,), b"\0\1"))
    bomb = file.getvalue()
    put("npy", "bomb", b"\0" + bomb)
    size = struct.pack("<I", len(npy("|u1", (2, 1 << 20), bytes(2 << 20))))
    put("npy", "claims-more", b"\0" + bomb.replace(size, b"\xff\xff\xff\xf0"))


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data +
            struct.pack(">I", zlib.crc32(kind + data)))


def png(width, height, depth, colour, rows, more=b"", interlace=0):
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth,
                                       colour, 0, 0, interlace)) + more +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def jpeg(channels):
    turbo = ctypes.CDLL("libturbojpeg.so.0")
    turbo.tjInitCompress.restype = ctypes.c_void_p
    out, size = ctypes.c_void_p(), ctypes.c_ulong()
    pixels = bytes(i * 5 % 256 for i in range(9 * 7 * channels))
    turbo.tjCompress2(ctypes.c_void_p(turbo.tjInitCompress()), pixels, 9, 0, 7,
                      0 if channels == 3 else 6, ctypes.byref(out),
                      ctypes.byref(size), 2 if channels == 3 else 3, 60, 0)
    return ctypes.string_at(out.value, size.value)


def pictures():
    put("picture", "grey.png", png(2, 2, 8, 0, b"\0\1\2\0\3\4"))
    put("picture", "rgb.png", png(1, 2, 8, 2, b"\0\1\2\3\1\4\5\6"))
    put("picture", "alpha.png", png(1, 1, 16, 6, b"\0" + bytes(range(8))))
    put("picture", "palette.png", png(
        4, 1, 2, 3, b"\0\x1b",
        chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\x80")))
    put("picture", "interlaced.png", png(2, 2, 8, 0, b"\0\1\0\2\0\3\4",
                                         interlace=1))
    put("picture", "huge.png", png(65535, 65535, 8, 0, bytes(4096)))
    put("picture", "wide.png", png(16384, 2441, 16, 6, bytes(4096)))
    put("picture", "text-bomb.png", png(
        1, 1, 8, 0, b"\0\0", chunk(b"zTXt", b"a\0\0" + zlib.compress(
            bytes(4 << 20)))))
    put("picture", "colour.jpg", jpeg(3))
    put("picture", "grey.jpg", jpeg(1))
    # The same with 65500 x 65500 in its frame header.
    at = jpeg(1).index(b"\xff\xc0")
    put("picture", "huge.jpg",
        jpeg(1)[:at + 5] + b"\xff\xdc\xff\xdc" + jpeg(1)[at + 9:])


def patch(place, data):
    return struct.pack("<I", place)[:3] + bytes([len(data)]) + data


def journals():
    put("journal_state", "good", b"")
    put("journal_state", "settings", patch(20, f32(0.5, 0, 0.1)))
    put("journal_state", "nan", patch(112, f32(float("nan"))))
    put("journal_state", "cut", patch(90, b""))
    put("journal_state", "count", patch(92, b"\xff" * 8))
    example = b"\1\1" + f32(0, 1, 2, 3, 4)
    put("journal_rows", "examples", example * 5)
    put("journal_rows", "label", b"\1\x7f" + f32(0, 1, 2, 3, 4))
    put("journal_rows", "nan", b"\1\2" + f32(0, float("nan"), 2, 3, 4))
    put("journal_rows", "rate", b"\1\2" + f32(1e30, 255, 255, 255, 255) * 3)
    put("journal_rows", "leaps", example * 3 + b"\2\1\0" + example +
        b"\3\0\x08" + patch(4, f32(0.1)) + b"\2\x09\0" + b"\4\1\0")
    put("journal_rows", "memory", b"\3\0\x08" +
        patch(24, struct.pack("<i", 1 << 24)) + example)
    put("journal_file", "good", b"\0")
    put("journal_file", "read-only", b"\1")
    put("journal_file", "cut", b"\0" + patch(4096, b""))
    put("journal_file", "empty", b"\0" + patch(0, b""))
    put("journal_file", "pages", b"\0" + patch(28, b"\xff\xff\xff\xff"))
    put("journal_file", "version", b"\1" + patch(60, b"\0\0\0\x63"))


REQUESTS = {
    "predict": b'POST /predict\nContent-Type: application/json\n\n'
               b'{"pixels":[1,2,3,4],"top_k":2}',
    "list": b'POST /models/tiny/predict\n\n{"pixels":[[1,2,3,4],[5,6,7,8]],'
            b'"remember":true}',
    "train": b'POST /train\nIdempotency-Key: k1\n\n'
             b'{"pixels":[1,2,3,4],"label":"dog"}',
    "examples": b'POST /train?learning_rate=0.1\n\n{"examples":[{"pixels":'
                b'[9,2,3,4],"label":1},{"pixels":[1,2,3,4],"label":2}]}',
    "bytes": b"POST /predict?top_k=1\nContent-Type: application/octet-stream"
             b"\n\nabcdefgh",
    "label": b"POST /train?label=cat\nContent-Type: application/octet-stream"
             b"\n\nabcd",
    "history": b"GET /models/tiny/examples?after=1&limit=3&pixels=true\n\n",
    "rollback": b'POST /models/tiny/rollback\n\n{"version":0}',
    "fork": b'POST /models/tiny/fork\n\n{"name":"two"}',
    "promote": b'POST /models/tiny/promote\n\n{"challenger":"two"}',
    "remove": b"DELETE /models/tiny\n\n",
    "head": b"HEAD /models/%74iny\nHost: a\n\n",
    "two-lengths": b"POST /predict\nContent-Length: 1\nContent-Length: 2\n\n{}",
    "huge-length": b"POST /predict\nContent-Length: 99999999999999999999\n\n",
    "gzip": b"POST /predict\nContent-Encoding: gzip\n\n" +
            gzip.compress(b'{"pixels":[1,2,3,4]}', mtime=0),
    "gzip-bomb": b"POST /predict\nContent-Encoding: gzip\n\n" +
                 gzip.compress(bytes(3 << 20), mtime=0),
    "deflate": b"POST /predict\nContent-Encoding: deflate\n\n" +
               zlib.compress(b'{"pixels":[1,2,3,4]}'),
    "metrics": b"GET /metrics\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c"
               b"-b7ad6b7169203331-01\n\n",
    "unknown": b"GET /a/%00/%ff\n\n",
    "not-allowed": b"PUT /predict\n\n",
    "stats": b"GET /v2/models/tiny/stats\n\n",
    "config": b"GET /v2/models/tiny/versions/0/config\n\n",
    "index": b'POST /v2/repository/index\n\n{"ready":true}',
    "unload": b"POST /v2/repository/models/tiny/unload\n\n{}",
    "load": b'POST /v2/repository/models/x/load\n\n{"parameters":{}}',
    "logging": b'POST /v2/logging\n\n{"log_verbose_level":1}',
    "status": b"GET /v1/models/tiny\n\n",
    "tfs": b'POST /v1/models/tiny:predict\n\n{"instances":[[1,2,3,4]]}',
    "oip": b'POST /v2/models/tiny/infer\n\n{"inputs":[{"name":"input","shape":'
           b'[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
}


def requests():
    for name, text in REQUESTS.items():
        put("request", name, text)
    put("request", "npy", b"POST /predict\nContent-Type: application/x-npy\n\n"
        + npy("|u1", (2, 4), bytes(8)))
    put("request", "png", b"POST /predict\nContent-Type: image/png\n\n" +
        png(2, 2, 8, 0, b"\0\1\2\0\3\4"))
    plain = (b'{"id":"7","inputs":[{"name":"input","shape":[2,4],"datatype":'
             b'"FP32","data":[[1,2,3,4],[5,6,7,8]]}],"outputs":[{"name":'
             b'"output","parameters":{"classification":2}}]}')
    put("oip", "json", b"\0" + plain)
    put("oip", "uint8", b"\0" + plain.replace(b"FP32", b"UINT8"))
    put("oip", "parameters", b'\0{"parameters":{"binary_data_output":true},'
        b'"inputs":[{"name":"input","shape":[4],"datatype":"INT64","data":'
        b'[1,2,3,4]}]}')
    for kind, values in (("FP32", f32(1, 2, 3, 4)), ("UINT8", b"abcd"),
                         ("FP64", struct.pack("<4d", 1, 2, 3, 4)),
                         ("FP16", b"\0\x3c" * 4)):
        text = json.dumps({
            "inputs": [{"name": "input", "shape": [1, 4], "datatype": kind,
                        "parameters": {"binary_data_size": len(values)}}],
            "outputs": [{"name": "output",
                         "parameters": {"binary_data": True}}]}).encode()
        put("oip", "binary-" + kind.lower(),
            b"\1" + struct.pack("<H", len(text)) + text + values)
    put("oip", "header-too-long", b"\1\xff\xff{}")
    put("tfs", "rows", b'\0{"instances":[[1,2,3,4],[5,6,7,8]]}')
    put("tfs", "columns", b'\1{"inputs":[[1,2,3,4]],"signature_name":'
        b'"serving_default"}')
    put("tfs", "named", b'\0{"instances":[{"input":[1,2,3,4]}]}')
    put("tfs", "b64", b'\0{"instances":[{"b64":"YWJjZA=="}]}')
    put("tfs", "classify", b'\2{"examples":[{"input":[1,2,3,4]}]}')
    put("tfs", "regress", b'\3{"examples":[{"input":[1,2,3,4]}]}')
    put("tfs", "torch", b'\4{"data":[1,2,3,4]}')
    put("tfs", "invoke", b'\5{"instances":[[1,2,3,4]]}')


def keys():
    digest = hashlib.sha256(b"secret").hexdigest().encode()
    put("keys", "one", b"Bearer secret\na train " + digest + b"\n")
    put("keys", "more", b"bearer  secret\n# no key\n\nb predict,train,admin " +
        digest.upper() + b"\r\nc predict " + bytes(digest[::-1]))
    put("keys", "bad", b"Basic x\na write 00\n")


for make in (tensors, checkpoints, datasets, numpy, pictures, journals,
             requests, keys):
    make()
