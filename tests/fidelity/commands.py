# ruff: noqa: E501 - a command stays a row
"""What kubectl is told to do on both sides: stories, each in a namespace of its own (`$ns`), and in it one command after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.machinery.objects import Document
from tests.fidelity.cases.words import DOMAIN, MIG_FINALIZER, VM_FINALIZER


@dataclass(frozen=True, slots=True)
class Command:
    """kubectl's arguments, and what it is given on its standard input: an object as JSON, or a text as it is."""

    line: str
    given: Document | str | None = None
    own: str = ""
    """Why Drover does it otherwise, on purpose. What follows must not depend on it."""


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    commands: Sequence[Command]


def _vm(name: str = "a", labels: Document | None = None, **spec: Any) -> Document:
    metadata: Document = {"name": name, "finalizers": [VM_FINALIZER], "labels": {"tier": "x", **(labels or {})}}
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": metadata,
        "spec": {"domain": DOMAIN, **spec},
    }


def _mig(name: str = "m", **spec: Any) -> Document:
    metadata = {"name": name, "finalizers": [MIG_FINALIZER]}
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": metadata,
        "spec": {"selector": {"name": "a"}, **spec},
    }


def _account(name: str = "s", **more: Any) -> Document:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **more}


NODE: Document = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "$ns"},
    "spec": {"providerID": "qemu:///session"},
}
LABELLED = (
    "a Node is labelled with its name, is not tainted before it was ready, and says nothing of what it does not know"
)
BOTH: Document = {"apiVersion": "v1", "kind": "List", "items": [_vm(), _mig()]}
MADE = (Command("create -f -", _vm()), Command("create -f -", _vm("b", {"tier": "y"})), Command("create -f -", _mig()))
FREE = Command("""patch vm a b --type=merge -p {"metadata":{"finalizers":null}}""")


def _story(name: str, *lines: str | Command, made: Sequence[Command] = MADE) -> Story:
    return Story(name, [*made, *(Command(line) if isinstance(line, str) else line for line in lines)])


STORIES: Sequence[Story] = (
    _story("get", *(f"get {what}" for what in (
        "vm", "vm -o wide", "vm a", "vm a b", "vm,mig", "virtualmachines.kubevirt.io", "virtualmachine/a", "vm --show-labels", "vm -L tier,nosuch", "vm -o name", "mig m -o yaml",
        "mig m -o json", "vm a -o yaml --show-managed-fields", "vm -o yaml", "vm -o json", "vm -o custom-columns=N:.metadata.name,T:.spec.domain.type,X:.nosuch", "vm --no-headers",
        "vm -o jsonpath={.items[*].metadata.name}", "vm -o go-template={{range.items}}{{.metadata.name}}{{end}}", "vm --sort-by=.metadata.name", "vm --sort-by=.nosuch", "vm --chunk-size=1", "vm --chunk-size=1 -o name",
        "vm --field-selector metadata.name=a", "vm --field-selector status.phase=Running", "vm --field-selector nosuch=x", "vm --field-selector metadata.name!=a -o name", "vm -l tier=x", "vm -l tier!=x", "vm -l", "vm -l tier=x,", "vm -l a=b=c",
        "vm -l tier in (x,y) -o name", "vm nosuch", "vm a nosuch", "nosuch", "nosuch a", "vm/a mig/m", "vm a --subresource=status", "vm a --subresource=status -o yaml", "vm a --subresource=nosuch", "vm a --subresource=scale", "vm --ignore-not-found nosuch",
        "vm -n nosuch-namespace", "all", "vm a -o yaml --server-print=false", "vm --server-print=false", "mig -o wide", "ns $ns", "ns $ns -o yaml", "sa -o name", "role,rolebinding", "events", "vm --show-kind", "vm -A --field-selector metadata.namespace=$ns", "vm.v1alpha1.kubevirt.io a -o name", "vm.v2.kubevirt.io a", "virtualmachine a -o kyaml",
    ))),
    _story("raw", *(f"get --raw {path}" for path in (
        "/apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines/a", "/apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines?limit=1&labelSelector=tier%3Dx", "/apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines/nosuch", "/apis/nosuch", "/nosuch", "/livez", "/readyz", "/healthz/ping", "/livez/nosuch", "/apis/kubevirt.io",
    )), Command("create --raw /apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines -f -", _vm("r")), Command("replace --raw /apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines/r -f -", _vm("r")), "delete --raw /apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines/nosuch"),
    _story("describe", "describe vm a", "describe mig m", "describe vm", "describe vm nosuch", "describe vm -l tier=x --show-events=false", "describe ns $ns", Command("create -f -", _account()), "describe sa s", "describe vm a --chunk-size=1"),
    _story("explain", *(f"explain {what}" for what in ("vm", "mig", "mig.spec", "mig.spec.options --recursive", "mig.spec.selector.name", "mig.status.phase", "vm.metadata.ownerReferences", "vm.metadata.labels", "vm.spec.domain --recursive", "vm.nosuch", "nosuch", "vm --api-version=kubevirt.io/v1alpha1", "vm --api-version=v2", "mig.spec -o plaintext-openapiv2", "migrationpolicy.spec", "mig --recursive")), made=()),
    _story(
        "create", Command("create -f -", _vm()), Command("create -f -", _vm()), Command("create -f -", BOTH), Command("create -f - -o yaml", _vm("y")), Command("create -f - --dry-run=server -o yaml", _vm("z")), Command("create -f - --dry-run=client -o name", _vm("z")), Command("create -f -", _vm("z", nosuch=1)),
        Command("create -f - --validate=warn", _vm("w", nosuch=1)), Command("create -f - --validate=false", _vm("i", nosuch=1)), Command("create -f -", {**_vm("k"), "kind": "Nosuch"}), Command("create -f -", {**_vm("k"), "apiVersion": "kubevirt.io/v2"}), Command("create -f -", _vm("K-Ä"), own="VirtualMachines are called by labels"),
        Command("create -f -", {**_vm(), "metadata": {"generateName": "g-", "finalizers": [VM_FINALIZER]}}), Command("create -f -", {**_vm("n"), "metadata": {"name": "n", "namespace": "other"}}), Command("create -f -", _mig("o", backoffLimit="x")), Command("create -f -", _mig("o", backoffLimit=-1)), Command("create -f -", {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": "p"}}),
        Command("create -f -", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: s}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: t}\n"), Command("create -f -", "not: [an object"), Command("create -f -", "{}"), Command("create -f - --save-config -o yaml", _vm("q")), Command("create -f - --field-manager=me -o yaml --show-managed-fields", _vm("u")),
        "create sa x", "create sa x", "create ns $ns", "create role r --verb=get,list --resource=virtualmachines.kubevirt.io", "create role r2 --verb=get --resource=nosuch", "create rolebinding rb --role=r --serviceaccount=$ns:x", "create clusterrole $ns --verb=get --non-resource-url=/x -o yaml --dry-run=server", "create rolebinding rc --clusterrole=view --user=u --group=g -o yaml", "create token x --duration=5s", made=(),
    ),
    _story(
        "apply", Command("apply -f -", _vm()), Command("apply -f -", _vm()), Command("apply -f -", _vm(nodeSelector={"x": "y"})), Command("apply -f - -o yaml", _vm(nodeSelector={"x": "z"})), Command("apply -f -", _vm()), Command("apply -f - --dry-run=server -o yaml", _vm(nodeSelector={"d": "r"})), Command("apply -f -", BOTH), Command("apply -f -", _vm(nosuch=1)), Command("apply -f -", _mig(selector={"name": "other"}), own="a selector is immutable"), Command("apply -f - --validate=warn", _vm(nosuch=1)),
        Command("apply view-last-applied vm a"), Command("apply view-last-applied vm a -o json"), Command("apply set-last-applied -f -", _vm()), Command("apply -f -", _account()), Command("apply -f -", _account(automountServiceAccountToken=False)), Command("apply -f - --prune -l tier=x --prune-allowlist=kubevirt.io/v1alpha1/VirtualMachine", _vm("only")), "get vm -o name", made=(),
    ),
    _story(
        "server-side apply", Command("apply --server-side -f -", _vm()), Command("apply --server-side -f - -o yaml --show-managed-fields", _vm()), Command("apply --server-side -f - --field-manager=other", _vm(nodeSelector={"x": "y"})), Command("apply --server-side -f - --field-manager=third", _vm(nodeSelector={"x": "z"})), Command("apply --server-side -f - --field-manager=third --force-conflicts -o yaml --show-managed-fields", _vm(nodeSelector={"x": "z"})), Command("apply --server-side -f - --dry-run=server -o yaml --show-managed-fields", _vm(nodeSelector={"d": "r"})), Command("apply --server-side -f -", _vm(nosuch=1)), Command("apply --server-side -f - --validate=false", _vm(nosuch=1)),
        Command("apply -f -", _vm("c")), Command("apply --server-side -f - -o yaml --show-managed-fields", _vm("c", nodeSelector={"x": "y"})), Command("apply --server-side -f - -o yaml --show-managed-fields", _account()), Command("apply --server-side -f - -o yaml --show-managed-fields", _account(secrets=[{"name": "x"}])), Command("apply --server-side -f - --subresource=status", {**_vm(), "status": {"phase": "Running"}}), Command("apply --server-side -f -", _vm(nodeSelector=None)), made=(),
    ),
    _story("diff", Command("diff -f -", _vm()), Command("diff -f -", _vm(nodeSelector={"x": "y"})), Command("diff --server-side -f -", _vm(nodeSelector={"x": "y"})), Command("diff -f -", _vm("new")), Command("diff -f -", _vm(nosuch=1))),
    _story(
        "patch", *(f"patch {what}" for what in (
            """vm a --type=merge -p {"spec":{"nodeSelector":{"x":"y"}}}""", """vm a --type=merge -p {"spec":{"nodeSelector":{"x":"y"}}}""", """vm a --type=json -p [{"op":"remove","path":"/spec/nodeSelector"}]""", """vm a --type=json -p [{"op":"remove","path":"/nosuch"}]""", """vm a --type=json -p [{"op":"test","path":"/metadata/name","value":"b"}]""", """vm a -p {"spec":{"nodeSelector":{"x":"y"}}}""", """vm a --type=merge -p {"spec":{"nosuch":1}}""", """vm a --type=merge -p {"spec":{"domain":{"type":5}}}""",
            """mig m --type=merge -p {"spec":{"cancel":true}} -o yaml""", """vm a --type=merge --subresource=status -p {"status":{"phase":"Running"}} -o yaml""", """vm a --type=merge --subresource=nosuch -p {}""", """vm nosuch --type=merge -p {}""", """vm a --type=merge -p x""", """vm a --type=merge -p {"metadata":{"labels":{"é":"x"}}}""", """vm a --type=merge -p {"metadata":{"name":"b"}}""", """vm a --type=merge --dry-run=server -p {"metadata":{"labels":{"d":"r"}}} -o jsonpath={.metadata.labels}""",
        )), Command("create -f -", _account()), """patch sa s -p {"secrets":[{"name":"x"}]}""", """patch sa s -p {"secrets":[{"name":"y"},{"$patch":"delete","name":"x"}]} -o yaml""", """patch sa s -p {"nosuch":1}""",
    ),
    _story("replace", Command("replace -f -", _vm(nodeSelector={"x": "y"})), Command("replace -f -", _vm("nosuch")), Command("replace -f -", {**_vm(), "metadata": {"name": "a", "resourceVersion": "1"}}), Command("replace -f -", _mig(selector={"name": "z"}), own="a selector is immutable"), Command("replace -f - --dry-run=server -o yaml", _vm()), Command("replace -f -", _vm(nosuch=1)), FREE, Command("replace --force -f -", _vm()), Command("replace --subresource=status -f -", {**_vm(), "status": {"phase": "Running"}})),
    _story("label and annotate", *("label vm a x=y", "label vm a x=y", "label vm a x=z", "label vm a x=z --overwrite", "label vm a x-", "label vm a nosuch-", "label vm --all t=u", "label vm -l tier=x v=w", "label vm nosuch x=y", "label vm a é=x", "label vm a x=é", "label vm b --list", "label vm a q=r --dry-run=server -o yaml", "label vm a q=r --resource-version=1", "annotate vm a x=y", "annotate vm a x=z", "annotate vm a x=z --overwrite", "annotate vm a x-", "annotate mig m a=b c=d", "annotate vm a --list", "annotate vm a é=x", "label ns $ns a=b", "annotate ns $ns a=b")),
    _story("delete", "delete vm nosuch", "delete vm nosuch --ignore-not-found", "delete vm a --wait=false", "get vm a -o jsonpath={.metadata.deletionGracePeriodSeconds}", "delete vm b --wait=false --dry-run=server", "delete vm b --wait=false --cascade=foreground", "get vm b -o jsonpath={.metadata.finalizers}", """patch vm a b --type=merge -p {"metadata":{"finalizers":null}}""", """patch vm a --type=merge -p {"metadata":{"finalizers":null}}""", """patch vm b --type=merge -p {"metadata":{"finalizers":null}}""", "get vm", "delete mig --all --wait=false", """patch mig m --type=json -p [{"op":"remove","path":"/metadata/finalizers"}]""", "delete mig m", "create sa x", "delete sa x", "delete sa -l nosuch=x", "delete sa x --now", Command("delete -f - --wait=false", BOTH), "delete nosuch x", "delete vm", "create sa y", "delete sa y --cascade=orphan --wait=false -o name", "create sa z", "delete sa z --grace-period=0 --force"),
    _story("wait", "wait vm a --for=condition=Ready --timeout=1s", "wait vm a --for=jsonpath={.spec.domain.type}=qemu --timeout=2s", "wait vm a --for=jsonpath={.status.phase}=Running --timeout=1s", "wait vm nosuch --for=delete --timeout=1s", "wait vm nosuch --for=condition=Ready --timeout=1s", "wait vm a --for=delete --timeout=2s", "wait vm --all --for=jsonpath={.spec.domain.type} --timeout=2s", "wait vm a --for=create --timeout=1s", "wait vm nosuch --for=create --timeout=1s"),
    _story("edit and scale", "scale vm a --replicas=2", "scale vm nosuch --replicas=1", "autoscale vm a --max=2", "expose vm a --port=1", "rollout status vm a", "set image vm a x=y", Command("run x --image=y --dry-run=server -o name", own="only Drover makes pods"), "cordon nosuch", "taint node nosuch a=b:NoSchedule", "logs nosuch", "exec nosuch -- x", "attach nosuch", "port-forward pod/nosuch 1:1", "top node", "cp nosuch:/x /nonexistent/y"),
    _story("auth", *(f"auth {what}" for what in ("can-i get vm", "can-i create mig -n $ns", "can-i get vm/a", "can-i get vm --subresource=status", "can-i get nosuch", "can-i get /livez", "can-i get vm --as=nobody", "can-i get vm --as=nobody -q", "can-i get ns -A", "can-i * *", "whoami --as=x --as-group=y", "whoami --as=x --as-uid=u -o yaml", "can-i get ns $ns")), "get vm --as=nobody", "get vm a --as=nobody", "delete vm a --as=nobody", """patch vm a --type=merge -p {} --as=nobody""", "get ns --as=nobody", "create sa x --as=nobody"),
    _story(
        "nodes", Command("create -f -", NODE), "get node $ns", Command("get node $ns -o yaml", own=LABELLED), Command("describe node $ns", own=LABELLED), "cordon $ns", "cordon $ns", "get node $ns", "uncordon $ns", "taint node $ns a=b:NoSchedule", "taint node $ns a=b:NoSchedule", "taint node $ns a=c:NoSchedule", "taint node $ns a=c:NoSchedule --overwrite", "taint node $ns a-", "taint node $ns a-", "taint node $ns a=b:Foo", "label node $ns x=y", "annotate node $ns x=y",
        """patch node $ns -p {"spec":{"unschedulable":true}}""", """patch node $ns --subresource=status -p {"status":{"conditions":[{"type":"Ready","status":"True","reason":"r","message":"m"}]}}""", "get node $ns", "get node $ns --field-selector spec.unschedulable=true", "drain $ns --dry-run=server", "drain $ns", "uncordon $ns", "wait node $ns --for=condition=Ready --timeout=2s", "wait node $ns --for=condition=Ready=False --timeout=1s", "delete node $ns", "delete node $ns", "get node $ns", "cordon $ns", "drain $ns", made=(),
    ),
    _story(
        "namespaces", "create ns $ns-x", "get ns $ns-x", "get ns $ns-x -o yaml", "label ns $ns-x a=b", Command("-n $ns-x create -f -", _account()), "-n $ns-x get sa -o name", "delete ns $ns-x --wait=false", "get ns $ns-x", Command("-n $ns-x create -f -", _account("t")), "-n $ns-x get all", "delete ns default --wait=false", "delete ns $ns-y", "create ns Bad_Name", "describe ns $ns-x", made=(),
    ),
    _story("resources", Command("api-resources --api-group=kubevirt.io --namespaced=true -o name", own="pods are served in both groups"), "api-resources --categories=all --api-group=kubevirt.io", "api-resources --api-group=nosuch", "api-resources --api-group=rbac.authorization.k8s.io -o wide", "cluster-info", "events", "events --for vm/a", "get events --field-selector involvedObject.name=a", "version -o json --client"),
)  # fmt: skip
