"""The Kubernetes manifest by the schemas of Kubernetes, the compose file by
docker-compose's own."""
import subprocess

import kubernetes_validate
import yaml

from soma import ROOT, check, end


def refuses(document):
    try:
        kubernetes_validate.validate(document, "1.30", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


with open(f"{ROOT}/docker/kubernetes.yaml") as file:
    documents = list(yaml.safe_load_all(file))
for document in documents:
    said = refuses(document)
    check(f"{document['kind']} by the schema of Kubernetes 1.30", not said,
          said)
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
container["livenessProb"] = {}
check("a misspelt probe would be found", refuses(stateful))
done = subprocess.run(
    ["docker-compose", "-f", f"{ROOT}/docker/compose.yaml", "config"],
    capture_output=True, text=True)
check("docker-compose config", done.returncode == 0, done.stderr)
services = yaml.safe_load(done.stdout or "{}").get("services", {})
check("soma and Prometheus", {"soma", "prometheus"} <= services.keys(),
      ", ".join(services))
end()
