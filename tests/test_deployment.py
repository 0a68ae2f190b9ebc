"""Compose and Kubernetes: the parts fit each other and the program; nothing secret is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from backends.cli import app
from backends.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
KUBERNETES = ROOT / "examples/kubernetes"
VERSIONS = ("1.31", "1.37")
NODES = ["labelpilot-1", "labelpilot-2", "worker-train", "worker-predict"]
SECRETS = re.compile(r"PASSWORD|SECRET|API_KEY|ACCESS_KEY|TOKEN")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, name) -> all that the manifests make."""
    found = [
        each
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
    ]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_compose_names_nothing_that_is_not_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service["networks"]) <= compose["networks"].keys(), name
        assert set(service.get("depends_on", ())) <= compose["services"].keys(), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            here = source.startswith("./") and (ROOT / source).is_file()
            assert here or source in compose["volumes"], (name, volume)


def test_compose_publishes_each_port_once_and_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_compose_holds_no_secret_and_says_which_are_missing(compose: dict[str, Any]) -> None:
    needed = set()
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRETS.search(name):
                assert re.fullmatch(r"\$\{\w+:-\}", value), name
                needed.add(value[2:-3])
        assert "@" not in re.sub(r"//\w+@", "", str(service.get("environment", "")))
    # Compose reads `${X:?...}` even of a profile that is not used: the containers ask instead.
    text = (ROOT / "compose.yaml").read_text()
    assert not re.search(r"(?<!\$)\$\{\w+:\?", text)
    asked = {name for name in needed if re.search(rf"\$\${{{name}:\?write {name}=", text)}
    assert asked == needed == {"POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_the_profile_scale_leaves_the_two_as_they_are(compose: dict[str, Any]) -> None:
    plain = [name for name, each in compose["services"].items() if "profiles" not in each]
    assert plain == ["label-studio", "labelpilot"]
    assert {str(each.get("profiles", ["scale"])) for each in compose["services"].values()} == {
        "['scale']"
    }


def test_compose_nodes_share_state_and_servers_leave_work_to_workers(
    compose: dict[str, Any],
) -> None:
    nodes = {name: compose["services"][name] for name in NODES}
    for name, node in nodes.items():
        assert node["image"] == compose["services"]["labelpilot"]["image"]
        environment = node["environment"]
        assert environment["LABELPILOT_DATABASE_URL"].startswith("postgresql+psycopg://")
        assert environment["LABELPILOT_STORE_URL"].startswith("s3://labelpilot/")
        assert (environment.get("LABELPILOT_QUEUES") == "") == name.startswith("labelpilot-")
        known(environment)
    for kind in ("train", "predict"):
        runs(nodes[f"worker-{kind}"]["command"], queue=[kind])


def test_nginx_balances_the_servers_of_compose(compose: dict[str, Any]) -> None:
    text = (ROOT / "examples/nginx.conf").read_text()
    servers = re.findall(r"^\s*server ([\w-]+):(\d+)", text, re.MULTILINE)
    assert servers == [("labelpilot-1", "9090"), ("labelpilot-2", "9090")]
    assert {name for name, _ in servers} <= compose["services"].keys()
    published = compose["services"]["balancer"]["ports"][0].split(":")[-1]
    assert re.search(rf"listen {published};", text)
    size_mb = Settings.model_fields["max_request_mb"].default
    assert f"client_max_body_size {size_mb}m;" in text
    for line in ("proxy_set_header Host $http_host;", "proxy_read_timeout 100s;"):
        assert line in text
    assert not re.search(r"^\s*(ip_hash|hash|sticky)\b", text, re.MULTILINE)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", objects(), ids="-".join)
def test_a_manifest_fits_its_schema(key: tuple[str, str], version: str) -> None:
    kubernetes_validate.validate(objects()[key], version, strict=True)


def test_a_manifest_that_is_wrong_does_not_fit() -> None:
    service = objects()["Service", "labelpilot"]
    service["spec"]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


def pods() -> dict[str, dict[str, Any]]:
    """Name of a deployment -> its pod."""
    return {
        name: each["spec"]["template"]["spec"]
        for (kind, name), each in objects().items()
        if kind == "Deployment"
    }


@pytest.mark.parametrize("name", pods())
def test_a_pod_may_do_little_and_has_time_to_finish(name: str) -> None:
    pod = pods()[name]
    rights = pod["securityContext"]
    assert rights["runAsNonRoot"]
    assert f"USER {rights['runAsUser']}" in (ROOT / "Dockerfile").read_text()
    assert pod["automountServiceAccountToken"] is False
    # Else Kubernetes sets LABELPILOT_PORT and more, of the Service that has our name.
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] >= 120
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", pods())
def test_a_pod_names_only_what_is_there(name: str) -> None:
    (container,) = pods()[name]["containers"]
    volumes = {each["name"]: each for each in pods()[name]["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == volumes.keys()
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in objects()
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    for source in container["envFrom"]:
        ((kind, reference),) = source.items()
        content = objects()[kinds[kind], reference["name"]]
        known(content.get("data", {}) | content.get("stringData", {}))
    known({each["name"]: each["value"] for each in container.get("env", ())})


def test_kubernetes_runs_what_the_program_knows() -> None:
    commands = {name: pod["containers"][0]["command"] for name, pod in pods().items()}
    runs(commands["labelpilot"], host="0.0.0.0", port=9090)
    runs(commands["labelpilot-train"], queue=["train"])
    runs(commands["labelpilot-predict"], queue=["predict"])


def test_servers_are_probed_reached_and_kept() -> None:
    (container,) = pods()["labelpilot"]["containers"]
    probes = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")
    }
    assert probes == {"startup": "/health", "liveness": "/health"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    found = objects()
    labels = found["Deployment", "labelpilot"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service", "labelpilot"]["spec"]["selector"] == labels
    budget = found["PodDisruptionBudget", "labelpilot"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    least = found["HorizontalPodAutoscaler", "labelpilot"]["spec"]["minReplicas"]
    assert budget["minAvailable"] < least


def test_an_autoscaler_has_its_deployment_for_itself() -> None:
    for (kind, _), each in objects().items():
        if kind == "HorizontalPodAutoscaler":
            target = objects()["Deployment", each["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"]


def test_secrets_are_a_template_apart() -> None:
    secret = objects()["Secret", "labelpilot"]
    assert set(secret["stringData"].values()) == {""}
    # `kubectl apply -f examples/kubernetes` does not look into folders.
    applied = [yaml.safe_load_all(each.read_text()) for each in KUBERNETES.glob("*.yaml")]
    assert "Secret" not in {each["kind"] for file in applied for each in file}
    open_settings = objects()["ConfigMap", "labelpilot"]["data"]
    assert not [name for name in open_settings if SECRETS.search(name)]


def known(environment: dict[str, Any]) -> None:
    """Each LABELPILOT_ variable is a setting, and its value a right one."""
    fields = {
        name.removeprefix("LABELPILOT_").lower(): value
        for name, value in environment.items()
        if name.startswith("LABELPILOT_") and value != ""
    }
    assert fields.keys() <= Settings.model_fields.keys()
    Settings.model_validate(
        {name: value for name, value in fields.items() if not name.startswith("basic_auth")}
    )


def runs(command: list[str], **wanted: Any) -> None:
    """The words are a command of ours, with these options."""
    program, name, *arguments = command
    assert program == "labelpilot"
    parsed = get_command(app).commands[name].make_context(name, list(arguments))
    assert {key: parsed.params[key] for key in wanted} == wanted
