"""KServe's InferenceRESTClient against soma, by both of its protocols."""
import unittest

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from serving import Server, images


class KServe(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.images = images(8)
        cls.expected = cls.server.predict(cls.images)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, protocol):
        return InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))

    def request(self, datatype, kind, binary, **more):
        one = InferInput("input", list(self.images.shape), datatype)
        one.set_data_from_numpy(self.images.astype(kind), binary_data=binary)
        return InferRequest("fashion", [one], **more)

    # Open Inference Protocol

    async def test_v2_health(self):
        async with self.client("v2") as client:
            self.assertIs(await client.is_server_live(self.server.url), True)
            self.assertIs(await client.is_server_ready(self.server.url), True)
            self.assertIs(await client.is_model_ready(self.server.url, "fashion"), True)
            self.assertIs(await client.is_model_ready(self.server.url, "nobody"), False)

    async def test_v2_infer(self):
        ways = [(False, None), (True, None), (False, True), (True, True), (True, False)]
        async with self.client("v2") as client:
            for binary, wanted in ways:
                more = {"request_id": "id 1"}
                if wanted is not None:
                    more["request_outputs"] = [
                        RequestedOutput("output", {"binary_data": wanted})]
                answer = await client.infer(
                    self.server.url, self.request("FP32", np.float32, binary, **more),
                    model_name="fashion")
                with self.subTest(binary=binary, wanted=wanted):
                    self.assertEqual(answer.model_name, "fashion")
                    self.assertEqual(answer.id, "id 1")
                    self.assertEqual(answer.outputs[0].shape, [8, 10])
                    np.testing.assert_array_equal(
                        answer.outputs[0].as_numpy().astype(np.float32), self.expected)

    async def test_v2_binary_output_by_parameter(self):
        async with self.client("v2") as client:
            headers = {}
            answer = await client.infer(
                self.server.url,
                self.request("UINT8", np.uint8, True,
                             parameters={"binary_data_output": True}),
                model_name="fashion", response_headers=headers)
        self.assertEqual(headers["content-type"], "application/octet-stream")
        np.testing.assert_array_equal(answer.outputs[0].as_numpy(), self.expected)

    async def test_v2_half(self):
        async with self.client("v2") as client:
            answer = await client.infer(
                self.server.url, self.request("FP16", np.float16, True),
                model_name="fashion")
        np.testing.assert_array_equal(
            answer.outputs[0].as_numpy().astype(np.float32), self.expected)

    async def test_v2_dictionary(self):
        body = {"inputs": [{"name": "input", "shape": [8, 784], "datatype": "INT32",
                            "data": self.images.reshape(8, 784).tolist()}]}
        async with self.client("v2") as client:
            answer = await client.infer(self.server.url, body, model_name="fashion")
        np.testing.assert_array_equal(
            answer.outputs[0].as_numpy().astype(np.float32), self.expected)

    async def test_v2_errors_have_their_text(self):
        async with self.client("v2") as client:
            with self.assertRaisesRegex(httpx.HTTPStatusError, "there is no model"):
                await client.infer(self.server.url, {"inputs": []}, model_name="nobody")
            with self.assertRaisesRegex(httpx.HTTPStatusError, "expected one tensor"):
                await client.infer(self.server.url, {"inputs": []}, model_name="fashion")

    # Its first protocol

    async def test_v1_health(self):
        async with self.client("v1") as client:
            self.assertIs(await client.is_server_live(self.server.url), True)
            self.assertIs(await client.is_model_ready(self.server.url, "fashion"), True)
            with self.assertRaises(httpx.HTTPStatusError):
                await client.is_model_ready(self.server.url, "nobody")

    async def test_v1_predict(self):
        async with self.client("v1") as client:
            for instances in (self.images.tolist(), self.images.reshape(8, 784).tolist()):
                answer = await client.infer(
                    self.server.url, {"instances": instances}, model_name="fashion")
                np.testing.assert_array_equal(
                    np.array(answer["predictions"], np.float32), self.expected)
            with self.assertRaisesRegex(httpx.HTTPStatusError, "Missing 'inputs'"):
                await client.infer(self.server.url, {}, model_name="fashion")


if __name__ == "__main__":
    unittest.main()
