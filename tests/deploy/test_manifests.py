"""The manifests for a real cluster: each overlay renders, fits the cluster's schemas, and what names another finds it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from app.commands import drover
from app.settings import Settings
from app.tls import write_certificate
from tests.deploy.manifests import OVERLAYS, ROOT, Document, name_of, of_kind, rendered, selects, wrong

CLUSTER_SCOPED = {"Namespace", "ClusterRole", "ClusterRoleBinding", "APIService"}
THEIRS = {"system:auth-delegator", "extension-apiserver-authentication-reader"}
"""Roles that every cluster has."""
ELSEWHERE = {"drover-database", "drover-hosts"}
"""Secrets that the operator makes."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate") / "tls"
    write_certificate(folder, "drover", "drover")
    return folder


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def documents(overlay: str, tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> list[Document]:
    return rendered(overlay, tmp_path_factory.mktemp("overlay"), certificate)


def pods(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Each Deployment with the spec of its Pods."""
    for deployment in of_kind(documents, "Deployment"):
        yield deployment, deployment["spec"]["template"]["spec"]


def labels(deployment: Document) -> dict[str, str]:
    found: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return found


def settings_in(container: Document) -> dict[str, Any]:
    prefix = "DROVER_"
    named = [(one["name"], one["value"]) for one in container["env"] if one["name"].startswith(prefix)]
    return {name.removeprefix(prefix).lower(): value for name, value in named}


def test_everything_fits_the_clusters_schemas(documents: list[Document]) -> None:
    known = [document for document in documents if "cert-manager.io" not in document["apiVersion"]]

    assert len(known) >= 14
    assert [problem for document in known for problem in wrong(document)] == []


def test_the_schemas_refuse_what_is_misspelt(documents: list[Document]) -> None:
    service = yaml.safe_load(yaml.safe_dump(of_kind(documents, "Service")[0]))
    service["spec"]["ports"][0] |= {"prot": 443, "port": "443"}
    role = yaml.safe_load(yaml.safe_dump(of_kind(documents, "ClusterRole")[0]))
    del role["rules"][0]["verbs"]

    assert sorted(wrong(service)) == ["spec.ports.0.port: int_type", "spec.ports.0.prot: extra_forbidden"]
    assert list(wrong(role)) == ["rules.0.verbs: missing"]


def test_every_object_is_once_and_where_it_belongs(documents: list[Document]) -> None:
    names = [(document["kind"], *name_of(document)) for document in documents]

    assert len(names) == len(set(names))
    for kind, namespace, name in names:
        assert (namespace == "") == (kind in CLUSTER_SCOPED), (kind, name)
        assert namespace in ("", "drover", "kube-system")
    assert [name for kind, namespace, name in names if namespace == "kube-system"] == [
        "drover:extension-apiserver-authentication-reader"
    ]


def test_the_apiservice_leads_to_the_service_by_a_name_in_the_certificate(
    documents: list[Document], overlay: str, certificate: Path
) -> None:
    (registered,) = of_kind(documents, "APIService")
    (service,) = of_kind(documents, "Service")
    spec = registered["spec"]

    assert registered["metadata"]["name"] == f"{spec['version']}.{spec['group']}" == "v1alpha1.kubevirt.io"
    assert (spec["service"]["namespace"], spec["service"]["name"]) == name_of(service)
    assert spec["service"]["port"] in [port["port"] for port in service["spec"]["ports"]]
    assert "insecureSkipTLSVerify" not in spec
    wanted = "drover.drover.svc"
    if overlay == "cert-manager":
        made = {c["spec"]["secretName"]: c["spec"] for c in of_kind(documents, "Certificate")}
        assert registered["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "drover/drover-serving"
        assert wanted in made["drover-serving"]["dnsNames"]
        issuers = {i["metadata"]["name"] for i in of_kind(documents, "Issuer")}
        assert {spec["issuerRef"]["name"] for spec in made.values()} <= issuers
    else:
        assert base64.b64decode(spec["caBundle"]) == (certificate / "ca.crt").read_bytes()


def test_the_service_leads_to_a_port_that_is_listened_on(documents: list[Document]) -> None:
    (service,) = of_kind(documents, "Service")
    slices = of_kind(documents, "EndpointSlice")
    (port,) = service["spec"]["ports"]

    if "selector" in service["spec"]:
        (chosen,) = [d for d, _ in pods(documents) if selects(service["spec"]["selector"], labels(d))]
        (container,) = chosen["spec"]["template"]["spec"]["containers"]
        ports = {opened["name"]: opened["containerPort"] for opened in container["ports"]}
        settings = {one["name"]: one["value"] for one in container["env"]}
        assert str(ports[port["targetPort"]]) == settings["DROVER_PORT"]
        assert slices == []
    else:
        (slice_,) = slices
        assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
        assert [(p["name"], p["port"]) for p in slice_["ports"]] == [(port["name"], port["targetPort"])]


def test_selectors_match_the_pods_that_they_are_for(documents: list[Document]) -> None:
    deployments = of_kind(documents, "Deployment")
    for deployment in deployments:
        assert selects(deployment["spec"]["selector"]["matchLabels"], labels(deployment))
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert selects(spread["labelSelector"]["matchLabels"], labels(deployment))
    budgets = [(b, b["spec"]["selector"]) for b in of_kind(documents, "PodDisruptionBudget")]
    policies = [(p, p["spec"]["podSelector"]) for p in of_kind(documents, "NetworkPolicy")]
    for chooser, selector in budgets + policies:
        chosen = [name_of(d) for d in deployments if selects(selector["matchLabels"], labels(d))]
        assert chosen == [name_of(chooser)]
    assert len(budgets) == len(policies) == len(deployments)
    for policy, selector in policies:
        (leads_to,) = [d for d in deployments if selects(selector["matchLabels"], labels(d))]
        (container,) = leads_to["spec"]["template"]["spec"]["containers"]
        let_in = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert let_in == {port["name"] for port in container["ports"]}


def test_pods_may_do_no_more_than_they_need(documents: list[Document]) -> None:
    for deployment, pod in pods(documents):
        own = pod["securityContext"]
        assert own["runAsNonRoot"] is True and own["runAsUser"] > 0
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
            for volume in pod["volumes"]:
                assert ("emptyDir" in volume) == (not mounted[volume["name"]].get("readOnly", False))
        assert pod["automountServiceAccountToken"] == (deployment["metadata"]["name"] == "drover-api")


def test_secrets_and_accounts_that_are_named_are_there_or_the_operators(documents: list[Document]) -> None:
    made = {name_of(secret)[1] for secret in of_kind(documents, "Secret")}
    made |= {one["spec"]["secretName"] for one in of_kind(documents, "Certificate")}
    accounts = {name_of(account) for account in of_kind(documents, "ServiceAccount")}

    for _, pod in pods(documents):
        assert ("drover", pod["serviceAccountName"]) in accounts
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made | ELSEWHERE
    for binding in of_kind(documents, "ClusterRoleBinding") + of_kind(documents, "RoleBinding"):
        assert {(s["namespace"], s["name"]) for s in binding["subjects"]} <= accounts
        roles = {name_of(role)[1] for role in of_kind(documents, "ClusterRole")} | THEIRS
        assert binding["roleRef"]["name"] in roles


def test_the_clusters_own_variables_are_no_settings(documents: list[Document]) -> None:
    """A Service called drover would give every Pod beside it DROVER_PORT=tcp://…"""
    for _, pod in pods(documents):
        assert pod["enableServiceLinks"] is False


def test_no_secret_is_in_a_variable_or_an_argument(documents: list[Document]) -> None:
    for _, pod in pods(documents):
        for container in pod["containers"]:
            shown = " ".join([*container["args"], *(one["value"] for one in container["env"])])
            assert "postgresql://" not in shown
            assert not any(one["name"].endswith(("_URL", "_TOKEN", "_PASSWORD")) for one in container["env"])


def test_commands_and_settings_are_those_that_drover_knows(documents: list[Document]) -> None:
    commands: Any = get_command(drover)
    for _, pod in pods(documents):
        for container in pod["containers"]:
            program, command, *flags = container["args"]
            assert program == "drover"
            known = {option for parameter in commands.commands[command].params for option in (
                *parameter.opts, *parameter.secondary_opts)}  # fmt: skip
            assert set(flags) <= known
            given = settings_in(container)
            assert given.keys() <= Settings.model_fields.keys()
            Settings(**given)


def test_probes_ask_what_is_answered_to_strangers(documents: list[Document]) -> None:
    for _, pod in pods(documents):
        (container,) = pod["containers"]
        probes = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
        assert {name: probe["path"] for name, probe in probes.items()} == {
            "startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz",
        }  # fmt: skip
        ports = {opened["name"] for opened in container["ports"]}
        assert all(probe["scheme"] == "HTTPS" and probe["port"] in ports for probe in probes.values())


def test_three_api_servers_keep_the_group_available_while_one_is_replaced(documents: list[Document]) -> None:
    for deployment, pod in pods(documents):
        if deployment["metadata"]["name"] == "drover-api":
            assert deployment["spec"]["replicas"] == 3
            assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        settings = Settings(**settings_in(pod["containers"][0]))
        assert pod["terminationGracePeriodSeconds"] > settings.drain_s + 5


def test_the_roles_add_up_to_what_users_do(documents: list[Document]) -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(documents, "ClusterRole")}
    for word in ("view", "edit", "admin"):
        added = roles[f"kubevirt.io:{word}"]["metadata"]["labels"]
        assert added[f"rbac.authorization.k8s.io/aggregate-to-{word}"] == "true"
        assert all(rule["apiGroups"] == ["kubevirt.io"] for rule in roles[f"kubevirt.io:{word}"]["rules"])
    seen = {verb for rule in roles["kubevirt.io:view"]["rules"] for verb in rule["verbs"]}
    assert seen == {"get", "list", "watch"}


def test_the_overlays_that_are_there_are_those_that_are_tested() -> None:
    folders = {folder.name for folder in (ROOT / "deploy" / "cluster" / "overlays").iterdir() if folder.is_dir()}

    assert folders == set(OVERLAYS)
