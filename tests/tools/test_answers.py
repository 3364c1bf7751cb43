"""Real answers of every operation in openapi.json by its schemas, which must
say all that is in them: a member that is not described is an error here. And
no schema is loose: each object says what its members are, each array its items.
"""
import json

import jsonschema

from soma import ROOT, Server, check, end

METHODS = ("get", "post", "delete")
# Not JSON, or without an end.
OTHER = {"/metrics": "text/plain", "/events": None, "/page/{file}": None}


# ---- Schemas ----

def loose(schema, where):
    """Where a schema says "object" or "array" and nothing of what is in it."""
    if isinstance(schema, list):
        for i, one in enumerate(schema):
            yield from loose(one, f"{where}/{i}")
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "object" in kinds and not {"properties", "additionalProperties",
                                  "allOf"} & schema.keys():
        yield where + ": object"
    if "array" in kinds and not {"items", "prefixItems"} & schema.keys():
        yield where + ": array"
    for name, value in schema.items():
        yield from loose(value, f"{where}/{name}")


def closed(schema):
    """The same, with nothing in its objects but what it describes. What is
    combined (allOf and so on) is closed as a whole; what a $ref names is
    closed where it is a value, so there are two of each component: itself, and
    "closed NAME"."""
    if isinstance(schema, bool):
        return schema
    if list(schema) == ["$ref"]:
        return {"$ref": schema["$ref"].replace("/schemas/",
                                               "/schemas/closed ")}
    return {**inside(schema), "unevaluatedProperties": False}


def inside(schema):
    """Closed in what its members are, itself open."""
    if isinstance(schema, bool):
        return schema
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: closed(value) for name, value
                                in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = closed(schema[name])
    if "prefixItems" in schema:
        schema["prefixItems"] = [closed(one) for one in schema["prefixItems"]]
    for name in ("allOf", "anyOf"):
        if name in schema:
            schema[name] = [inside(one) for one in schema[name]]
    return schema


def components(description):
    schemas = description["components"]["schemas"]
    both = {name: inside(schema) for name, schema in schemas.items()}
    both |= {"closed " + name: closed(schema) if list(schema) != ["$ref"]
             else {"$ref": schema["$ref"]} for name, schema in schemas.items()}
    return {"schemas": both}


class Answers:
    def __init__(self, description):
        self.description = description
        self.components = components(description)
        self.seen = {}  # operation: how many answers

    def response(self, path, method, status):
        responses = self.description["paths"][path][method]["responses"]
        one = responses.get(str(status)) or responses.get("default")
        if one and "$ref" in one:
            name = one["$ref"].rsplit("/", 1)[1]
            one = self.description["components"]["responses"][name]
        return one

    def wrong(self, path, method, status, text):
        """What is wrong with this answer; "" if nothing is."""
        one = self.response(path, method, status)
        if not one:
            return f"status {status} is not described: {text[:200]}"
        schema = one["content"]["application/json"]["schema"]
        validator = jsonschema.Draft202012Validator(
            {**closed(schema), "components": self.components},
            format_checker=jsonschema.FormatChecker())
        return "; ".join(f"{error.json_path}: {error.message[:200]}" for error
                         in validator.iter_errors(json.loads(text)))


# ---- Requests ----

def image(name, kind="png"):
    with open(f"{ROOT}/models/samples/{name}.{kind}", "rb") as file:
        return file.read()


def body(**members):
    return json.dumps(members).encode()


PIXELS = list(image("ankle-boot", "raw"))
NESTED = [PIXELS[i:i + 28] for i in range(0, 784, 28)]
PNG = {"Content_Type": "image/png"}
BYTES = {"Content_Type": "application/octet-stream"}


def tensor(**more):
    return {"name": "input", "shape": [1, 784], "datatype": "UINT8",
            "data": PIXELS, **more}


def predictions(path):
    """As /predict takes them."""
    yield path, body(pixels=PIXELS), {}
    yield path, body(pixels=[NESTED, NESTED], remember=True), {}
    yield path, body(pixels=NESTED, top_k=3), {}
    yield path + "?top_k=2", image("shirt"), PNG
    yield path, image("ankle-boot", "raw"), BYTES


def inferences(path):
    yield path, body(inputs=[tensor()]), {}
    yield path, body(id="a", inputs=[tensor()], outputs=[
        {"name": "output", "parameters": {"classification": 2}}]), {}


def tables(path):
    yield path, body(instances=[PIXELS, PIXELS]), {}
    yield path, body(inputs={"x": [NESTED]}), {}


def lessons(path):
    yield path, body(pixels=PIXELS, label=9), {}
    yield path, body(pixels=PIXELS, label="Ankle boot", learning_rate=.01), {}
    yield path, body(examples=[{"pixels": PIXELS, "label": 9},
                               {"pixels": NESTED, "label": 6}]), {}
    yield path + "?label=Shirt", image("shirt"), PNG
    known = json.loads(server.ask("/models/fashion/predict", body(
        pixels=PIXELS, remember=True))[1])["id"]
    yield path, body(id=known, label=9), {}


def posts():
    """(path as described, path as asked, body, headers)."""
    for path, model in (("/predict", "fashion"),
                        ("/models/{model}/predict", "fashion"),
                        ("/models/{model}/predict", "neuron"),
                        ("/models/{model}/predict", "neuron-svm")):
        yield path, predictions(path.replace("{model}", model))
    yield "/train", lessons("/train")
    yield "/models/{model}/train", lessons("/models/fashion/train")
    for model in ("fashion", "neuron-svm", "neuron"):
        yield "/models/{model}/explain", [
            (f"/models/{model}/explain", body(pixels=PIXELS), {}),
            (f"/models/{model}/explain?label=1", image("shirt"), PNG)]
    for version in ("", "/versions/1"):
        as_described = version.replace("1", "{version}")
        for model in ("fashion", "neuron-svm"):
            yield ("/v2/models/{model}" + as_described + "/infer",
                   inferences(f"/v2/models/{model}{version}/infer"))
            yield ("/v1/models/{model}" + as_described + ":predict",
                   tables(f"/v1/models/{model}{version}:predict"))
            yield ("/v1/models/{model}" + as_described + ":classify",
                   [(f"/v1/models/{model}{version}:classify",
                     body(examples=[{"x": PIXELS}, {"x": NESTED}]), {})])
        yield ("/v1/models/{model}" + as_described + ":regress",
               [(f"/v1/models/fashion{version}:regress", b"{}", {})])
    for version in ("", "/{version}"):
        for model in ("fashion", "neuron-svm"):
            yield ("/predictions/{model}" + version, predictions(
                f"/predictions/{model}" + version.replace("{version}", "1")))
    yield "/invocations", tables("/invocations")
    yield "/invocations", predictions("/invocations")
    yield "/models/{model}/rollback", [
        ("/models/fashion/rollback", body(version=1), {})]
    yield "/models/{model}/fork", [
        ("/models/fashion/fork", body(**{"as": "other"}), {})]
    yield "/models/{model}/promote", [
        ("/models/fashion/promote", body(**{"from": "other"}, force=True), {})]
    yield "/v2/repository/index", [("/v2/repository/index", b"", {}), (
        "/v2/repository/index", body(ready=True), {})]
    for verb in ("unload", "load"):
        yield "/v2/repository/models/{model}/" + verb, [(
            f"/v2/repository/models/neuron/{verb}",
            body(parameters={"unload_dependents": False}), {})]
    yield "/v2/logging", [("/v2/logging", body(log_verbose_level=0), {})]


def wrongs(path):
    """What each POST must answer with an error that is described."""
    yield b"[]", {}
    yield b'{"pixels": [1', {}
    yield b"x", {"Content_Encoding": "br"}


def concrete(path):
    return (path.replace("{model}", "fashion").replace("{version}", "1"))


# ---- The check ----

server = Server("--default-model", "fashion", "--new-base", "restart")
description = json.loads(server.ask("/openapi.json")[1])
found = [where for part in ("paths", "components")
         for where in loose(description[part], part)]
check("no schema is loose", not found, found)
answers = Answers(description)
kinds, errors, statuses = {}, [], set()


def ask(described, method, path, data=None, headers=None):
    status, text = server.ask(path, data, **(headers or {}),
                              **({"method": method} if method == "delete"
                                 else {}))
    statuses.add(status)
    if status == 200 or (status == 400 and ":regress" in described):
        kinds[method, described] = kinds.get((method, described), 0) + 1
    wrong = answers.wrong(described, method, status, text)
    if wrong:
        errors.append(f"{method} {path} {status}: {wrong}")
    return status


for described, asked in posts():
    for path, data, headers in asked:
        if ask(described, "post", path, data, headers) not in (200, 400):
            errors.append(f"{path}: refused")
for described, item in description["paths"].items():
    if "post" in item:
        for data, headers in wrongs(described):
            ask(described, "post", concrete(described), data, headers)
        if "{model}" in described:
            ask(described, "post", described.replace("{model}", "nobody")
                .replace("{version}", "1"), body(pixels=[1]))
    if "get" in item and described not in OTHER and not \
            described.endswith("/weights"):
        for query in ("", "?pixels=1&limit=5"):
            ask(described, "get", concrete(described) + query)
        for model in ("neuron-svm", "cifar10", "other"):
            if "{model}" in described:
                ask(described, "get",
                    concrete(described.replace("{model}", model)))
        if "{model}" in described:
            ask(described, "get", described.replace("{model}", "nobody")
                .replace("{version}", "1"))
ask("/models/{model}", "delete", "/models/other")
check("answers are as described, and nothing else is in them", not errors,
      "\n".join(errors[:20]))
operations = {(method, path) for path, item in description["paths"].items()
              for method in METHODS if method in item and path not in OTHER and
              not path.endswith("/weights")}
missing = operations - kinds.keys()
check("each operation was answered well", not missing, sorted(missing))
check("errors were, too", {400, 404, 415} <= statuses, sorted(statuses))
check("what is good is 200", not {one for one in statuses if 200 < one < 400},
      sorted(statuses))
check("with requests enough", sum(kinds.values()) > 130, sum(kinds.values()))

# It can find something.
good = server.ask("/models/fashion/predict", body(pixels=PIXELS))[1]
for name, spoilt in (
        ("more", {**json.loads(good), "more": 1}),
        ("less", {k: v for k, v in json.loads(good).items() if k != "label"}),
        ("another kind", {**json.loads(good), "version": "1"}),
        ("empty", {"model": "fashion", "version": 1, "label": 1,
                   "class": "x"})):
    check(f"{name} would be found", answers.wrong(
        "/models/{model}/predict", "post", 200, json.dumps(spoilt)))
check("the server ends well", server.stop() == 0)
end()
