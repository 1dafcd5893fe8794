# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""What the schema of a custom resource refuses, in the words of kube-apiserver's own validation; and nulls."""

from __future__ import annotations

from typing import Any

from tests.api.builders import DOMAIN, MACHINES, MIGRATIONS, machine, migration
from tests.api.laws.row import MERGE, Row, invalid, vm_is

NOT = "in body must be of type"


def vm(*errors: str, **spec: Any) -> Row:
    return Row(f"POST {MACHINES}", body=machine("new", **spec), **vm_is("new", *errors))


def move(*errors: str, spec: Any) -> Row:
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return Row(
        f"POST {MIGRATIONS}",
        body={**migration("new"), "spec": spec},
        **invalid(f'Migration.kubevirt.io "new" is invalid: {listed}'),
    )


def mistyped(path: str, wanted: str, got: str) -> str:
    return f'{path}: Invalid value: "{got}": {path} {NOT} {wanted}: "{got}"'


def no_integer(path: str) -> str:
    """What kube-apiserver adds about a number with a fraction, or too large a one."""
    return f'<nil>: Invalid value: "": Checked value must be of type integer (default format) in {path}'


ROWS = [
    move("spec: Required value", spec=None),
    move("spec.selector: Required value", spec={}),
    move("spec.selector.name: Required value", spec={"selector": {}}),
    move(mistyped("spec", "object", "string"), spec="x"),
    move(mistyped("spec.selector", "object", "array"), spec={"selector": []}),
    move(mistyped("spec.selector.name", "string", "integer"), spec={"selector": {"name": 5}}),
    move(mistyped("spec.selector.name", "string", "boolean"), spec={"selector": {"name": True}}),
    move(mistyped("spec.selector.name", "string", "number"), spec={"selector": {"name": 1.5}}),
    move(mistyped("spec.selector.name", "string", "object"), spec={"selector": {"name": {}}}),
    move(mistyped("spec.nodeSelector", "object", "array"), spec={"selector": {"name": "a"}, "nodeSelector": ["a"]}),
    move(mistyped("spec.nodeSelector.a", "string", "integer"), spec={"selector": {"name": "a"}, "nodeSelector": {"a": 1}}),
    move('spec.selector.name: Invalid value: "": spec.selector.name in body should be at least 1 chars long', spec={"selector": {"name": ""}}),
    move("spec.selector.name: Too long: may not be more than 63 bytes", spec={"selector": {"name": "a" * 64}}),
    move("spec.selector.name: Invalid value: \"A\": spec.selector.name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'", spec={"selector": {"name": "A"}}),
    move(mistyped("spec.selector.name", "string", "integer"), mistyped("spec.nodeSelector", "object", "string"), spec={"selector": {"name": 5}, "nodeSelector": "x"}),
    vm(mistyped("spec.domain.memory.value", "integer", "string"), domain={**DOMAIN, "memory": {"value": "x", "unit": "MB"}}),
    vm(mistyped("spec.terminationGracePeriodSeconds", "integer", "number"), no_integer("spec.terminationGracePeriodSeconds"), terminationGracePeriodSeconds=1.5),
    vm(mistyped("spec.domain.memory.value", "integer", "number"), no_integer("spec.domain.memory.value"), domain={**DOMAIN, "memory": {"value": 10**30, "unit": "MB"}}),
    Row(f"POST {MACHINES}", 201, body=machine("new", terminationGracePeriodSeconds=5.0), has={"spec.terminationGracePeriodSeconds": 5}),
    # Nulls mean unset
    Row(f"POST {MACHINES}", 201, body=machine("new", nodeSelector=None), has={"spec.nodeSelector": KeyError}),
    Row(f"POST {MACHINES}", 201, body=machine("new", nodeSelector={"a": None}), has={"spec.nodeSelector": {}}),
    Row(f"POST {MIGRATIONS}", 201, body={**migration("new"), "spec": {"selector": {"name": "a"}, "options": None}}, has={"spec.options": KeyError}),
    Row(f"PATCH {MACHINES}/vm0", **vm_is("vm0", mistyped("spec.nodeSelector", "object", "string")), body={"spec": {"nodeSelector": "x"}}, type=MERGE),
    Row(f"PATCH {MIGRATIONS}/keep", **invalid('Migration.kubevirt.io "keep" is invalid: spec: Required value'), body={"spec": None}, type=MERGE),
    Row(f"PATCH {MACHINES}/vm0/status", **vm_is("vm0", mistyped("status.phase", "string", "integer").replace("status.phase in body", "phase in body"), 'status.phase: Unsupported value: 5: supported values: "", "Pending", "Scheduling", "Scheduled", "Running", "Migrating", "Succeeded", "Failed", "Unknown"'), body={"status": {"phase": 5}}, type=MERGE),
    Row(f"PATCH {MACHINES}/vm0/status", **vm_is("vm0", 'status.phase: Unsupported value: "Odd": supported values: "", "Pending", "Scheduling", "Scheduled", "Running", "Migrating", "Succeeded", "Failed", "Unknown"'), body={"status": {"phase": "Odd"}}, type=MERGE),
    Row(f"PATCH {MACHINES}/vm0/status", **vm_is("vm0", 'status: Invalid value: "string":  in body must be of type object: "string"'), body={"status": "x"}, type=MERGE),
]  # fmt: skip
