"""Node: which URIs may be named, and what is shown."""

from __future__ import annotations

import pytest

from app.kinds import NODE
from tests.kinds.builders import created, node, object_of, said, said_of_change, shown


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///session",
        "qemu:///system",
        "qemu+unix:///session?socket=/run/x/libvirt-sock",
        "qemu+tls://h1/system",
        "qemu+tcp://10.0.0.1:16509/system",
        "qemu+ssh://root@h1/system?no_tty=1",
        "fake://node0",
    ],
)
def test_a_node_names_its_host(uri: str) -> None:
    assert said(NODE, node(spec={"providerID": uri})) == []


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "h1",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "test:///default",
        "qemu+ext://h1/system?command=/tmp/evil",
        "qemu+ssh://h1/system?command=/tmp/evil",
        "qemu+ssh://h1/system?netcat=/tmp/evil",
        "qemu+ssh://-oProxyCommand=evil/system",
        "qemu+ssh://-oProxyCommand=evil@h1/system",
        "qemu+tls://[::1/system",
        "qemu+unix:///session?socket=/x&unknown=1",
    ],
)
def test_a_uri_that_may_run_a_program_is_refused(uri: str) -> None:
    problems = said(NODE, node(spec={"providerID": uri}))

    assert problems
    assert all(problem.startswith("spec.providerID: ") for problem in problems)


@pytest.mark.parametrize("parameter", ["pkipath=/etc/keys", "keyfile=/root/.ssh/id_rsa", "known_hosts=/dev/null"])
def test_files_of_drovers_machine_are_named_by_sets_of_credentials_alone(parameter: str) -> None:
    uri = f"qemu+ssh://h1/system?{parameter}"

    (problem,) = said(NODE, node(spec={"providerID": uri}))
    chosen = said(NODE, node(annotations={"kubevirt.io/credentials": "../other"}))
    towards_peers = said(NODE, node(annotations={"kubevirt.io/peer-uri": uri}))

    assert problem.startswith("spec.providerID: ")
    assert "kubevirt.io/credentials" in problem
    assert [one.split(": ")[0] for one in chosen] == ["metadata.annotations[kubevirt.io/credentials]"]
    assert towards_peers == [], "those are files of the other hosts"


def test_a_node_that_an_earlier_version_took_may_still_be_cordoned() -> None:
    old = node(spec={"providerID": "qemu+tls://h1/system?pkipath=/etc/keys"})
    cordoned = node(spec={"providerID": "qemu+tls://h1/system?pkipath=/etc/keys", "unschedulable": True})

    assert said_of_change(NODE, old, cordoned) == []


def test_the_way_from_host_to_host_is_judged_alike() -> None:
    annotations = {"kubevirt.io/peer-uri": "qemu+ext://h/?command=x", "kubevirt.io/migration-uri": "exec:evil"}

    problems = said(NODE, node(annotations=annotations))

    assert {"metadata.annotations[kubevirt.io/peer-uri]", "metadata.annotations[kubevirt.io/migration-uri]"} == {
        problem.split(": ")[0] for problem in problems
    }


@pytest.mark.parametrize("uri", ["tcp://10.0.0.1", "unix:///run/in/", "unix:///run/in/a.sock", "rdma://10.0.0.1"])
def test_memory_goes_over_a_socket(uri: str) -> None:
    assert said(NODE, node(annotations={"kubevirt.io/migration-uri": uri})) == []


@pytest.mark.parametrize("name", ["allocatable-memory", "allocatable-cpu"])
def test_what_a_node_offers_is_a_quantity(name: str) -> None:
    (problem,) = said(NODE, node(annotations={f"kubevirt.io/{name}": "much"}))

    assert problem.startswith(f"metadata.annotations[kubevirt.io/{name}]: ")
    assert said(NODE, node(annotations={f"kubevirt.io/{name}": "4Gi"})) == []


def test_a_node_gets_its_name_as_its_hostname() -> None:
    stored = created(NODE, object_of(NODE, "node0", spec={"providerID": "qemu:///system"}))

    assert stored["metadata"]["labels"]["kubernetes.io/hostname"] == "node0"
    assert said(NODE, stored) == []


def test_another_hostname_is_refused() -> None:
    (problem,) = said_of_change(NODE, node(), node(labels={"kubernetes.io/hostname": "node1"}))

    assert problem.startswith("metadata.labels[kubernetes.io/hostname]: ")


@pytest.mark.parametrize(
    ("spec", "conditions", "expected"),
    [
        ({}, [], "Unknown"),
        ({}, [{"type": "Ready", "status": "True"}], "Ready"),
        ({}, [{"type": "Ready", "status": "False"}], "NotReady"),
        ({}, [{"type": "Ready", "status": "Unknown"}], "NotReady"),
        ({"unschedulable": True}, [{"type": "Ready", "status": "True"}], "Ready,SchedulingDisabled"),
    ],
)
def test_its_state_is_worded_as_kubectl_words_it(
    spec: dict[str, object], conditions: list[dict[str, str]], expected: str
) -> None:
    assert expected == shown(NODE, node(spec=spec, status={"conditions": conditions}))["Status"]


def test_its_roles_are_labels() -> None:
    labels = {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/compute": ""}

    assert shown(NODE, node(labels=labels))["Roles"] == "compute,edge"
    assert shown(NODE, node())["Roles"] == "<none>"


def test_its_columns_are_kubectls() -> None:
    assert list(shown(NODE, node())) == ["Name", "Status", "Roles", "Age", "Version"]
