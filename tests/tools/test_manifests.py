"""The Kubernetes manifests by the schemas of Kubernetes, the compose files by
docker-compose's own."""
import json
import subprocess

import kubernetes_validate
import yaml

from soma import PROGRAM, ROOT, check, end


def refuses(document):
    try:
        kubernetes_validate.validate(document, "1.30", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


def documents_of(name):
    with open(f"{ROOT}/docker/{name}") as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        said = refuses(document)
        check(f"{name}: {document['kind']} by the schema of Kubernetes 1.30",
              not said, said)
    return documents


documents = documents_of("kubernetes.yaml")
stateful = next(d for d in documents if d["kind"] == "StatefulSet")
pod = stateful["spec"]["template"]["spec"]
container = pod["containers"][0]
check("it has probes, limits, a read-only root and a volume",
      "livenessProbe" in container and "readinessProbe" in container and
      container["resources"]["limits"]["memory"] and
      container["securityContext"]["readOnlyRootFilesystem"] and
      pod["securityContext"]["runAsNonRoot"] and
      stateful["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] ==
      container["volumeMounts"][0]["name"])
with open(f"{ROOT}/server/web/openapi.json") as file:
    paths = json.load(file)["paths"]
asked = [container[probe]["httpGet"]["path"]
         for probe in ("livenessProbe", "readinessProbe")] + [
    stateful["spec"]["template"]["metadata"]["annotations"]
    ["prometheus.io/path"]]
check("the paths that it asks for are there",
      all("get" in paths.get(path, {}) for path in asked), asked)
container["livenessProb"] = {}
check("a misspelt probe would be found", refuses(stateful))
many = documents_of("kubernetes.scale.yaml")
check("replicas have a budget and a scaler of the same name",
      [d["kind"] for d in many] == ["Service", "Deployment",
                                    "PodDisruptionBudget",
                                    "HorizontalPodAutoscaler"] and
      {d["metadata"]["name"] for d in many} == {"soma"} and
      many[3]["spec"]["scaleTargetRef"]["kind"] == "Deployment")
check("one more is ready before one goes",
      many[1]["spec"]["strategy"]["rollingUpdate"] ==
      {"maxSurge": 1, "maxUnavailable": 0} and
      "readinessProbe" in many[1]["spec"]["template"]["spec"]["containers"][0])


def services_of(name):
    done = subprocess.run(
        ["docker-compose", "-f", f"{ROOT}/docker/{name}", "config"],
        capture_output=True, text=True)
    check(f"docker-compose config of {name}", done.returncode == 0,
          done.stderr)
    return yaml.safe_load(done.stdout or "{}").get("services", {})


services = services_of("compose.yaml")
check("soma and Prometheus", {"soma", "prometheus"} <= services.keys(),
      ", ".join(services))
cluster = services_of("compose.scale.yaml")
check("three replicas, Redis and HAProxy",
      cluster.keys() == {"soma1", "soma2", "soma3", "redis", "haproxy"},
      ", ".join(cluster))
# A variable that is misspelt would be no option, and silent.
for name, value in [(one["name"], one["value"]) for one in container["env"]] + [
        *services.get("soma", {}).get("environment", {}).items(),
        *cluster.get("soma1", {}).get("environment", {}).items()]:
    said = subprocess.run([PROGRAM, "serve", "--print-config"], text=True,
                          capture_output=True, env={name: str(value)}).stdout
    option = name.removeprefix("SOMA_").lower().replace("_", "-")
    check(f"{name} is an option's", any(
        line.split()[:2] == [option, str(value)] and name in line
        for line in said.splitlines()), said)
end()
