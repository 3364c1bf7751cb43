"""openapi.json is valid OpenAPI 3.1, and the server does what it says:
schemathesis makes requests of it, right and wrong ones.

Left out is the check that each request that the description allows is
accepted: how many numbers an example has depends on the model, which no
schema says; and whole numbers beyond 64 bits are refused everywhere. Nor are
events asked for, whose answer does not end (tests/http/test_events.c), nor is
Soma-Min-Version sent: for a version that is not there 503 is right
(tests/http/test_versions.c).
"""
import json
import os
import re
import subprocess
import sys
import time

from openapi_spec_validator import OpenAPIV31SpecValidator

from soma import Server, check, end

server = Server("--log-format", "json")
status, text = server.ask("/openapi.json")
description = json.loads(text)
errors = list(OpenAPIV31SpecValidator(description).iter_errors())
check("valid OpenAPI 3.1", not errors, errors)
operations = sum(len({"get", "post", "delete"} & path.keys())
                 for name, path in description["paths"].items()
                 if name != "/events")
least = {"$ref": "#/components/parameters/leastVersion"}
for item in description["paths"].values():
    for holder in (item, item.get("post", {})):
        if least in holder.get("parameters", []):
            holder["parameters"].remove(least)
# From a file: or it would leave out the address that it came from.
path = os.path.join(server.folder.name, "openapi.json")
with open(path, "w") as file:
    json.dump(description, file)
began = time.time()
done = subprocess.run(
    [os.path.join(os.path.dirname(sys.executable), "st"), "run",
     path, "--url", server.url, "--phases", "examples,coverage,fuzzing",
     "-n", "25", "--seed", "1", "--exclude-checks",
     "positive_data_acceptance", "--exclude-path", "/events", "--warnings", "off",
     "--no-color", "--continue-on-failure", "--generation-database", "none"],
    capture_output=True, text=True, timeout=170)
said = done.stdout + done.stderr
tested = re.search(r"Tested: (\d+)", said)
cases = re.search(r"(\d+) generated", said)
check("schemathesis finds nothing", done.returncode == 0, said)
check("it tests each operation", tested and int(tested[1]) == operations,
      f"{tested and tested[1]} of {operations}")
check("with requests enough", cases and int(cases[1]) > 1000,
      f"{cases and cases[1]} in {time.time() - began:.0f} s")
metrics = server.ask("/metrics")[1]
check("no status 500", 'status="500"' not in metrics)
# It has unloaded models, too.
server.ask("/v2/repository/models/fashion/load", b"{}")
check("it still predicts", "Sandal" in json.dumps(
    server.picture("sandal", "/models/fashion/predict")))
check("the server ends well", server.stop() == 0)
end()
