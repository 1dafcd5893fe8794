"""Admission policies: what they refuse and warn of, in kube-apiserver's words, and files that cannot be used."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.access import Access, AccessError, access_of, trust_of
from app.api.admission.judge import Admission
from app.api.admission.policies import PolicyError, bound_policies
from app.api.application import create_api
from app.api.files import FileError
from app.kinds import ALL
from app.machinery.objects import Document
from app.settings import Settings
from app.store.base import Key, Store
from tests.api.builders import make_namespace

A = "/apis/kubevirt.io/v1alpha1/namespaces/default"
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


def policy(*validations: dict[str, Any], name: str = "rule", **spec: Any) -> dict[str, Any]:
    rule = {
        "apiGroups": ["kubevirt.io"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["migrations"],
    }  # fmt: skip
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": list(validations)} | spec,
    }


def binding(name: str = "rule", *actions: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"{name}-bound"},
        "spec": {"policyName": name, "validationActions": list(actions) or ["Deny"]} | spec,
    }


def about(resource: str, *operations: str, group: str = "kubevirt.io") -> dict[str, Any]:
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": [resource]}
    return {"resourceRules": [rule]}


NO_POST_COPY = {
    "expression": "!has(object.spec.options) || object.spec.options.?allowPostCopy.orValue(false) == false",
    "message": "post-copy is not allowed here",
}

Serve = Callable[..., Any]


async def evicted(_verb: str, _key: Key, _body: Document, _dry_run: bool) -> Document:
    """Of who was admitted."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


@pytest.fixture
async def serve(store: Store) -> AsyncIterator[Serve]:
    """A client of an API with these policies."""
    await make_namespace(store, "default")
    async with AsyncExitStack() as stack:

        async def served(*documents: dict[str, Any]) -> httpx.AsyncClient:
            admission = Admission(bound_policies(yaml.safe_dump_all(documents)))
            api = create_api(
                store, ALL, version="v1.36.0", admission=admission, handlers={("Pod", "eviction"): evicted}
            )
            transport = httpx.ASGITransport(app=api)
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://drover"))

        yield served


def migration(name: str = "m", **options: Any) -> dict[str, Any]:
    spec = {"selector": {"name": "vm"}} | ({"options": options} if options else {})
    return {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": name}, "spec": spec}


async def test_what_is_denied_says_so_as_kube_apiserver_does(serve: Serve) -> None:
    client = await serve(policy(NO_POST_COPY), binding())

    denied = await client.post(f"{A}/migrations", json=migration(allowPostCopy=True))
    dry = await client.post(f"{A}/migrations?dryRun=All", json=migration(allowPostCopy=True))
    made = await client.post(f"{A}/migrations", json=migration())

    why = (
        "ValidatingAdmissionPolicy 'rule' with binding 'rule-bound' denied request: post-copy is not allowed here"
    )  # fmt: skip
    assert denied.json() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": f'migrations.kubevirt.io "m" is forbidden: {why}', "reason": "Invalid",
        "details": {"name": "m", "group": "kubevirt.io", "kind": "migrations", "causes": [{"message": why}]},
        "code": 422,
    }  # fmt: skip
    assert (dry.status_code, made.status_code) == (422, 201)


async def test_every_way_to_write_is_judged(serve: Serve) -> None:
    """The policy forbids a label, and to take it from what has it is forbidden too, as is to delete that."""
    rule = {
        "expression": "request.operation == 'DELETE' ? !('kept' in oldObject.metadata.?labels.orValue({})) : "
        "!('bad' in object.metadata.?labels.orValue({}))",
        "messageExpression": "request.operation + ' by ' + request.userInfo.username",
        "reason": "Forbidden",
    }
    client = await serve(policy(rule, matchConstraints=about("*", "*", group="*")), binding())
    path, bad = f"{A}/migrations", {"metadata": {"labels": {"bad": "x"}}}
    for name, labels in (("m", {}), ("kept", {"kept": "x"})):
        body = migration(name)
        body["metadata"]["labels"] = labels
        assert (await client.post(path, json=body)).status_code == 201
    whole = (await client.get(f"{path}/m")).json()
    changed = whole | {"metadata": whole["metadata"] | bad["metadata"]}
    applied = migration("new") | {"metadata": {"name": "new", "labels": {"bad": "x"}}}

    answers = {
        "create": await client.post(path, json=migration("x") | {"metadata": {"name": "x", "labels": {"bad": ""}}}),
        "update": await client.put(f"{path}/m", json=changed),
        "patch": await client.patch(f"{path}/m", json=bad, headers=MERGE),
        "apply a new one": await client.patch(f"{path}/new?fieldManager=t", json=applied, headers=APPLY),
        "apply": await client.patch(
            f"{path}/m?fieldManager=t", json=applied | {"metadata": bad["metadata"]}, headers=APPLY
        ),
        "delete": await client.delete(f"{path}/kept"),
        "delete all": await client.delete(path, params={"labelSelector": "kept"}),
        "namespace": await client.post("/api/v1/namespaces", json={"metadata": {"name": "n", "labels": {"bad": "x"}}}),
    }
    left = [item["metadata"]["name"] for item in (await client.get(path)).json()["items"]]

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 403)
    assert "denied request: DELETE by system:admin" in answers["delete"].json()["message"]
    assert "denied request: UPDATE by system:admin" in answers["apply"].json()["message"]
    assert left == ["kept", "m"]
    assert (await client.delete(f"{path}/m")).status_code == 200


async def test_a_rule_for_one_group_holds_under_the_other(serve: Serve) -> None:
    rule = {"expression": "!object.spec.?unschedulable.orValue(false)", "message": "no cordoning"}
    client = await serve(policy(rule, matchConstraints=about("nodes", "*", group="")), binding())
    node = {"metadata": {"name": "n"}, "spec": {"providerID": "qemu:///session"}}
    assert (await client.post("/api/v1/nodes", json=node)).status_code == 201

    answers = [
        await client.patch(f"{path}/nodes/n", json={"spec": {"unschedulable": True}}, headers=MERGE)
        for path in ("/api/v1", "/apis/kubevirt.io/v1alpha1")
    ]

    assert [answer.status_code for answer in answers] == [422, 422]


async def test_warnings_do_not_deny(serve: Serve) -> None:
    client = await serve(policy(NO_POST_COPY), binding("rule", "Warn"))

    made = await client.post(f"{A}/migrations", json=migration(allowPostCopy=True))
    kept = await client.post(f"{A}/migrations", json=migration("kept"))

    said = "Validation failed for ValidatingAdmissionPolicy 'rule' with binding 'rule-bound': post-copy is not allowed here"
    assert (made.status_code, made.headers["warning"]) == (201, f'299 - "{said}"')
    assert "warning" not in kept.headers


async def test_conditions_variables_and_selectors(serve: Serve, store: Store) -> None:
    await make_namespace(store, "other")
    variables = [
        {"name": "options", "expression": "object.spec.?options.orValue({})"},
        {"name": "post", "expression": "'allowPostCopy' in variables.options && variables.options.allowPostCopy"},
    ]
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}
    client = await serve(
        policy(
            {"expression": "!variables.post", "messageExpression": "'not in ' + namespaceObject.metadata.name"},
            variables=variables,
            matchConditions=[{"name": "people", "expression": "!request.name.startsWith('robot')"}],
        ),
        binding(matchResources=chosen),
    )

    answers = [
        await client.post(f"{where}/migrations", json=migration(name, allowPostCopy=True))
        for where, name in ((A, "m"), (A, "robot"), (A.replace("default", "other"), "m"))
    ]

    assert [answer.status_code for answer in answers] == [422, 201, 201]
    assert answers[0].json()["message"].endswith("denied request: not in default")


@pytest.mark.parametrize(("lenient", "code"), [("Fail", 422), ("Ignore", 201)])
async def test_an_expression_that_cannot_be_evaluated_counts_as_the_policy_says(
    serve: Serve, lenient: str, code: int
) -> None:
    client = await serve(policy({"expression": "object.spec.nothing > 1"}, failurePolicy=lenient), binding())

    answer = await client.post(f"{A}/migrations", json=migration())

    assert answer.status_code == code
    if code == 422:
        assert "expression 'object.spec.nothing > 1' resulted in error: Key not found" in answer.json()["message"]


async def test_an_endless_expression_ends_soon(serve: Serve) -> None:
    items = f"[{','.join(map(str, range(200)))}]"
    loops = f"{items}.all(a, {items}.all(b, {items}.all(c, a + b + c >= 0)))"
    client = await serve(policy({"expression": loops}), binding())
    started = time.process_time()

    answer = await client.post(f"{A}/migrations", json=migration())

    assert answer.status_code == 422 and "budget" in answer.json()["message"]
    assert time.process_time() - started < 2


async def test_what_is_sent_to_a_subresource_is_judged_whatever_it_is(store: Store, serve: Serve) -> None:
    rule = {"expression": "object.?metadata.?name.orValue('') != 'kept'", "message": "stays"}
    chosen = about("pods/eviction", "CREATE", group="*") | {"objectSelector": {"matchLabels": {}}}
    client = await serve(policy(rule, matchConstraints=chosen), binding())
    paths = [f"{root}/namespaces/default/pods/kept/eviction" for root in ("/api/v1", "/apis/kubevirt.io/v1alpha1")]
    bodies = [{"kind": "Pod"}, {"metadata": []}, {"metadata": {"labels": 1}}, {}]

    odd = [(await client.post(path, json=body)).status_code for path in paths for body in bodies]
    denied = [await client.post(path, json={"metadata": {"name": "kept"}}) for path in paths]

    assert set(odd) == {201, 422}
    assert [answer.status_code for answer in denied] == [422, 422]
    assert all("denied request: stays" in answer.text for answer in denied)


async def test_nothing_is_evaluated_on_what_is_too_large(serve: Serve) -> None:
    client = await serve(policy({"expression": "true"}), binding())
    large = migration()
    large["metadata"]["annotations"] = {"a": "x" * 200_000}

    answer = await client.post(f"{A}/migrations", json=large)

    assert answer.status_code == 422 and "policies are evaluated on 131072 at most" in answer.json()["message"]


def spoiled(**spec: Any) -> list[dict[str, Any]]:
    return [policy(NO_POST_COPY, **spec), binding()]


BAD: dict[str, tuple[list[Any] | str, str]] = {
    "no YAML": ("a: [", "no YAML"),
    "nothing of the kind": ([{"kind": "Pod"}], "document 1 is no ValidatingAdmissionPolicy"),
    "a list": ([[1]], "document 1 is no"),
    "syntax": (
        [policy({"expression": "object.spec >"}), binding()],
        r"spec.validations\[0\].expression: .*Syntax error",
    ),
    "unknown name": (
        [policy({"expression": "params.x == 1"}), binding()],
        r"expression: 1:7: undeclared reference to 'params",
    ),
    "no truth value": ([policy({"expression": "'x' + 'y'"}), binding()], "must answer bool"),
    "too long": ([policy({"expression": "true && " * 2000 + "true"}), binding()], "longer than"),
    "parameters": (spoiled(paramKind={"kind": "X"}), "spec.paramKind: Extra inputs are not permitted"),
    "unknown operation": (spoiled(matchConstraints=about("x", "CONNECT")), r"operations\[0\]: Input should be"),
    "no policy": ([binding()], "there is no policy 'rule'"),
    "no binding": ([policy(NO_POST_COPY)], "no binding puts it to use"),
    "twice": ([policy(NO_POST_COPY), policy(NO_POST_COPY), binding()], "there are two of this name"),
    "unknown action": ([policy(NO_POST_COPY), binding("rule", "Audit")], "validationActions"),
    "another version": ([policy(NO_POST_COPY) | {"apiVersion": "v1"}, binding()], "apiVersion"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_one_line(name: str) -> None:
    documents, why = BAD[name]
    text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)

    with pytest.raises(PolicyError, match=why) as error:
        bound_policies(text)

    assert "\n" not in str(error.value)


def test_the_settings_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text("kind: Pod")

    with pytest.raises(AccessError, match=f"DROVER_ADMISSION_POLICIES: {file}: document 1 is no"):
        opened(tmp_path, file)
    with pytest.raises(AccessError, match=r"DROVER_ADMISSION_POLICIES: cannot read .*No such file"):
        opened(tmp_path, tmp_path / "none")


def opened(folder: Path, file: Path) -> Access:
    settings = Settings(data_dir=folder, admission_policies=file)
    return access_of(settings, trust_of(settings))


async def test_a_changed_file_counts_and_a_broken_one_does_not(store: Store, tmp_path: Path) -> None:
    await make_namespace(store, "default")
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump_all([policy(NO_POST_COPY), binding()]))
    access = opened(tmp_path, file)
    (read,) = access.files
    api = create_api(store, ALL, version="v1.36.0", admission=access.admission)

    async def code(name: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
            return (await client.post(f"{A}/migrations", json=migration(name, allowPostCopy=True))).status_code

    first = await code("a")
    file.write_text("kind: [")
    with pytest.raises(FileError, match="no YAML"):
        read.refresh()
    second = await code("b")
    file.write_text(yaml.safe_dump_all([policy({"expression": "true"}), binding()]))
    changed = read.refresh()

    assert (first, second, changed, await code("c")) == (422, 422, True, 201)
    assert read.refresh() is False
