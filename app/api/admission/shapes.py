"""ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding as a file has them. What is not honoured here is not in them,
and is refused: parameters, audit annotations."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "admissionregistration.k8s.io/v1"
MOST = 100
"""Of each list, so that judging a write has an end."""


class Strict(BaseModel):
    """Without fields that nobody knows."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )


class Meta(Strict):
    name: str = Field(min_length=1)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Requirement(Strict):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = Field(default_factory=list)


class Selector(Strict):
    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: list[Requirement] = Field(default_factory=list)


class ResourceRule(Strict):
    """Every part of a request must be in the list of that name, or the list holds `*`."""

    api_groups: list[str] = Field(min_length=1)
    api_versions: list[str] = Field(min_length=1)
    operations: list[Literal["CREATE", "UPDATE", "DELETE", "*"]] = Field(min_length=1)
    resources: list[str] = Field(min_length=1)
    """`pods`, `pods/eviction`, `pods/*`, `*`, `*/*`."""
    resource_names: list[str] = Field(default_factory=list)
    scope: Literal["Cluster", "Namespaced", "*"] = "*"


class MatchResources(Strict):
    """Which requests are meant. A kind that is served under two groups is meant under both."""

    resource_rules: list[ResourceRule] = Field(default_factory=list, max_length=MOST)
    exclude_resource_rules: list[ResourceRule] = Field(default_factory=list, max_length=MOST)
    namespace_selector: Selector = Selector()
    object_selector: Selector = Selector()
    match_policy: Literal["Equivalent"] = "Equivalent"


class Named(Strict):
    """An expression with a name."""

    name: str = Field(min_length=1)
    expression: str


class Validation(Strict):
    expression: str
    message: str = ""
    message_expression: str | None = None
    reason: Literal["Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"] = "Invalid"


class PolicySpec(Strict):
    failure_policy: Literal["Fail", "Ignore"] = "Fail"
    match_constraints: MatchResources
    match_conditions: list[Named] = Field(default_factory=list, max_length=MOST)
    variables: list[Named] = Field(default_factory=list, max_length=MOST)
    validations: list[Validation] = Field(min_length=1, max_length=MOST)


class Policy(Strict):
    api_version: Literal["admissionregistration.k8s.io/v1"]
    kind: Literal["ValidatingAdmissionPolicy"]
    metadata: Meta
    spec: PolicySpec


class BindingSpec(Strict):
    policy_name: str
    validation_actions: list[Literal["Deny", "Warn"]] = Field(min_length=1)
    match_resources: MatchResources | None = None


class Binding(Strict):
    api_version: Literal["admissionregistration.k8s.io/v1"]
    kind: Literal["ValidatingAdmissionPolicyBinding"]
    metadata: Meta
    spec: BindingSpec
