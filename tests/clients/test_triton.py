"""NVIDIA's tritonclient (HTTP) against soma."""
import concurrent.futures
import unittest

import numpy as np
import tritonclient.http as triton
from ml_dtypes import bfloat16
from serving import Server, images
from tritonclient.utils import InferenceServerException

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
           "Sneaker", "Bag", "Ankle boot"]


def tensor(batch, datatype, binary=True, name="input"):
    one = triton.InferInput(name, list(batch.shape), datatype)
    one.set_data_from_numpy(batch, binary_data=binary)
    return one


class Triton(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = triton.InferenceServerClient(cls.server.address, concurrency=4)
        cls.images = images(8)
        cls.expected = cls.server.predict(cls.images)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def check(self, result, rows=8, name="output"):
        np.testing.assert_array_equal(result.as_numpy(name), self.expected[:rows])

    # What there is

    def test_health(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("fashion"))
        self.assertTrue(self.client.is_model_ready("fashion", "1"))
        self.assertFalse(self.client.is_model_ready("fashion", "2"))
        self.assertFalse(self.client.is_model_ready("nobody"))

    def test_metadata(self):
        server = self.client.get_server_metadata()
        self.assertEqual(server["name"], "soma")
        self.assertIn("binary_tensor_data", server["extensions"])
        model = self.client.get_model_metadata("fashion")
        self.assertEqual(model["versions"], ["1"])
        self.assertEqual(
            model["inputs"],
            [{"name": "input", "datatype": "FP32", "shape": [-1, 28, 28]}],
        )
        self.assertEqual(
            model["outputs"],
            [{"name": "output", "datatype": "FP32", "shape": [-1, 10]}],
        )

    def test_configuration(self):
        config = self.client.get_model_config("fashion", "1")
        self.assertEqual(config["max_batch_size"], 4096)
        self.assertEqual(config["input"][0]["dims"], [28, 28])
        self.assertEqual(config["output"][0]["data_type"], "TYPE_FP32")

    # Tensors

    def test_binary_both_ways(self):
        batch = self.images.astype(np.float32)
        result = self.client.infer("fashion", [tensor(batch, "FP32")])
        self.check(result)
        answer = result.get_response()
        self.assertEqual(answer["model_name"], "fashion")
        self.assertEqual(answer["model_version"], "1")
        self.assertEqual(answer["outputs"][0]["parameters"], {"binary_data_size": 320})

    def test_json_both_ways(self):
        batch = self.images.astype(np.float32)
        output = triton.InferRequestedOutput("output", binary_data=False)
        result = self.client.infer("fashion", [tensor(batch, "FP32", False)], outputs=[output])
        self.check(result)
        self.assertNotIn("parameters", result.get_output("output"))

    def test_mixed(self):
        batch = self.images.astype(np.float32)
        for binary_in, binary_out in ((True, False), (False, True)):
            output = triton.InferRequestedOutput("output", binary_data=binary_out)
            result = self.client.infer(
                "fashion", [tensor(batch, "FP32", binary_in)], outputs=[output])
            self.check(result)

    def test_all_datatypes(self):
        # Images that all types can hold.
        batch = self.images // 2
        expected = self.server.predict(batch)
        kinds = {
            "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
            "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
            "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
        }
        for name, kind in kinds.items():
            for binary in (True, False) if name != "FP16" else (True,):
                with self.subTest(name, binary=binary):
                    result = self.client.infer(
                        "fashion", [tensor(batch.astype(kind), name, binary)])
                    np.testing.assert_array_equal(result.as_numpy("output"), expected)
        ones = batch > 50
        for binary in (True, False):
            result = self.client.infer("fashion", [tensor(ones, "BOOL", binary)])
            np.testing.assert_array_equal(
                result.as_numpy("output"), self.server.predict(ones.astype(int)))

    def test_bfloat16(self):
        # 8 bits of fraction hold every whole number up to 256.
        result = self.client.infer("fashion", [tensor(self.images.astype(bfloat16), "BF16")])
        self.check(result)

    def test_flat_rows_and_any_names(self):
        batch = self.images.reshape(8, 784).astype(np.float32)
        output = triton.InferRequestedOutput("dense_2")
        result = self.client.infer(
            "fashion", [tensor(batch, "FP32", name="flatten_input")], outputs=[output])
        self.check(result, name="dense_2")

    def test_id_and_version(self):
        batch = self.images.astype(np.float32)
        result = self.client.infer(
            "fashion", [tensor(batch, "FP32")], model_version="1", request_id="no. 7",
            priority=1, timeout=1000000, sequence_id=3, sequence_start=True)
        self.check(result)
        self.assertEqual(result.get_response()["id"], "no. 7")

    def test_compression(self):
        batch = self.images.astype(np.float32)
        for coding in ("gzip", "deflate"):
            for binary in (True, False):
                result = self.client.infer(
                    "fashion", [tensor(batch, "FP32", binary)],
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding)
                self.check(result)

    def test_generated_bodies(self):
        # Its static helpers, with another HTTP library in mind.
        batch = self.images[:1].astype(np.float32)
        body, size = triton.InferenceServerClient.generate_request_body([tensor(batch, "FP32")])
        import urllib.request

        request = urllib.request.Request(
            self.server.url + "/v2/models/fashion/infer", body,
            {"Inference-Header-Content-Length": str(size),
             "Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request) as answer:
            head = int(answer.headers["Inference-Header-Content-Length"])
            result = triton.InferenceServerClient.parse_response_body(
                answer.read(), header_length=head)
        self.check(result, 1)

    def test_asynchronous(self):
        batch = self.images.astype(np.float32)
        waiting = [self.client.async_infer("fashion", [tensor(batch, "FP32")])
                   for _ in range(50)]
        for one in waiting:
            self.check(one.get_result())

    def test_many_at_a_time(self):
        def ask(i):
            with triton.InferenceServerClient(self.server.address) as client:
                for _ in range(20):
                    row = self.images[i:i + 1].astype(np.float32)
                    got = client.infer("fashion", [tensor(row, "FP32")]).as_numpy("output")
                    np.testing.assert_array_equal(got, self.expected[i:i + 1])
            return True

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertTrue(all(pool.map(ask, range(8))))

    def test_classification(self):
        batch = self.images.astype(np.float32)
        for binary in (True, False):
            output = triton.InferRequestedOutput("output", binary_data=binary, class_count=3)
            got = self.client.infer(
                "fashion", [tensor(batch, "FP32")], outputs=[output]).as_numpy("output")
            self.assertEqual(got.shape, (8, 3))
            for row, probabilities in zip(got, self.expected):
                best = np.argsort(-probabilities)[:3]
                for text, index in zip(row, best):
                    text = text.decode() if isinstance(text, bytes) else text
                    value, number, label = text.split(":", 2)
                    self.assertAlmostEqual(float(value), float(probabilities[index]), 5)
                    self.assertEqual((int(number), label), (index, CLASSES[index]))

    # What is wrong

    def test_errors(self):
        batch = self.images.astype(np.float32)
        wrong = [
            ("nobody", tensor(batch, "FP32"), "nobody"),
            ("fashion", tensor(batch[:, :5], "FP32"), "expected 784 numbers"),
            ("fashion", tensor(np.full((1, 784), np.nan, np.float32), "FP32"), "not finite"),
            ("fashion", tensor(np.array([b"x"], np.object_), "BYTES"), "got BYTES"),
        ]
        for model, one, text in wrong:
            with self.assertRaisesRegex(InferenceServerException, text) as raised:
                self.client.infer(model, [one])
            self.assertIn(raised.exception.status(), ("400", "404"))
        with self.assertRaisesRegex(InferenceServerException, "no version 3"):
            self.client.infer("fashion", [tensor(batch, "FP32")], model_version="3")
        with self.assertRaisesRegex(InferenceServerException, "one tensor"):
            self.client.infer(
                "fashion", [tensor(batch, "FP32"), tensor(batch, "FP32", name="other")])

    # The extensions

    def test_statistics(self):
        def stats():
            return self.client.get_inference_statistics("cifar10-linear")["model_stats"][0]

        before = stats()
        rows = np.zeros((5, 3072), np.uint8)
        for _ in range(4):
            self.client.infer("cifar10-linear", [tensor(rows, "UINT8")])
        after = stats()
        self.assertEqual(after["inference_count"] - before["inference_count"], 20)
        self.assertEqual(after["execution_count"] - before["execution_count"], 4)
        times = after["inference_stats"]
        self.assertEqual(
            times["success"]["count"] - before["inference_stats"]["success"]["count"], 4)
        self.assertGreaterEqual(times["success"]["ns"], times["compute_infer"]["ns"])
        self.assertGreater(times["compute_infer"]["ns"], 0)
        everything = self.client.get_inference_statistics()["model_stats"]
        self.assertGreaterEqual(
            {one["name"] for one in everything}, {"mnist", "fashion", "neuron-svm"})

    def test_log_settings(self):
        self.assertEqual(self.client.get_log_settings()["log_verbose_level"], 0)
        changed = self.client.update_log_settings({"log_verbose_level": 1})
        self.assertEqual(changed["log_verbose_level"], 1)
        changed = self.client.update_log_settings({"log_verbose_level": 0, "log_info": True})
        self.assertTrue(changed["log_info"])
        with self.assertRaisesRegex(InferenceServerException, "cannot be changed"):
            self.client.update_log_settings({"log_file": "/tmp/x"})

    def test_repository(self):
        def states():
            return {one["name"]: one["state"]
                    for one in self.client.get_model_repository_index()}

        self.assertEqual(states()["neuron"], "READY")
        self.client.unload_model("neuron")
        self.assertFalse(self.client.is_model_ready("neuron"))
        self.assertEqual(states()["neuron"], "UNAVAILABLE")
        self.client.load_model("neuron")
        self.assertTrue(self.client.is_model_ready("neuron"))
        batch = self.images.astype(np.float32)
        self.server.put_file("fashion", "digits")
        self.client.load_model("digits")
        self.check(self.client.infer("digits", [tensor(batch, "FP32")]))
        self.server.put_file("mnist", "digits")
        self.client.load_model("digits")
        np.testing.assert_array_equal(
            self.client.infer("digits", [tensor(batch, "FP32")]).as_numpy("output"),
            self.server.predict(self.images, "mnist"))
        with self.assertRaisesRegex(InferenceServerException, "no model file"):
            self.client.load_model("nobody")
        with self.assertRaisesRegex(InferenceServerException, "as its file"):
            self.client.load_model("digits", config="{}")


if __name__ == "__main__":
    unittest.main()
