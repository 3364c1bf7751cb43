"""Triton's perf_analyzer against soma: it reads metadata, configuration and
statistics by a C++ client that aborts where a member is missing."""
import json
import os
import re
import subprocess
import tempfile
import unittest

from serving import Server, images

ANALYZER = os.environ["PERF_ANALYZER"]


class PerfAnalyzer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.folder = tempfile.TemporaryDirectory()
        cls.data = os.path.join(cls.folder.name, "images.json")
        with open(cls.data, "w") as file:
            json.dump({"data": [{"input": {"content": one.ravel().astype(float).tolist(), "shape": [28, 28]}}
                                for one in images(4)]}, file)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        cls.server.stop()

    def measure(self, *arguments):
        """What it prints, and the inferences a second that it saw. It ends
        with an error where its windows differ by more than -s %, as they do on
        a machine that others use; how fast it is, is not asked here."""
        run = subprocess.run(
            [ANALYZER, "-u", self.server.address, "-i", "http", "-m", "fashion",
             "--input-data", self.data, "--measurement-mode", "count_windows",
             "--measurement-request-count", "60", "-r", "5", "-s", "1000000", *arguments],
            capture_output=True, text=True, timeout=120)
        text = run.stdout + run.stderr
        self.assertEqual(run.returncode, 0, text)
        counts = [int(n) for n in re.findall(r"Inference count: (\d+)", text)]
        batches = [int(n) for n in re.findall(r"Execution count: (\d+)", text)]
        rate = float(re.search(r"throughput: ([\d.]+) infer/sec", text)[1])
        return text, rate, counts, batches

    def test_one_at_a_time(self):
        text, rate, counts, batches = self.measure("--concurrency-range", "1")
        self.assertGreater(rate, 100, text)
        # Nobody else asks: every request is a pass of its own.
        self.assertGreater(counts[-1], 0)
        self.assertEqual(counts[-1], batches[-1])
        self.assertRegex(text, r"compute infer \d+ usec")

    def test_batches(self):
        text, rate, counts, batches = self.measure("-b", "16", "--concurrency-range", "2")
        self.assertGreater(rate, 100, text)
        self.assertGreaterEqual(counts[-1], 16 * batches[-1])

    def test_asynchronous_json(self):
        text, rate, counts, _ = self.measure(
            "--async", "--concurrency-range", "4",
            "--input-tensor-format", "json", "--output-tensor-format", "json")
        self.assertGreater(rate, 50, text)
        self.assertGreater(counts[-1], 0)


if __name__ == "__main__":
    unittest.main()
