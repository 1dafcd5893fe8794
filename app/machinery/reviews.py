"""The kinds of questions about rights and callers that are answered at once and never stored: `authorization.k8s.io` and
`authentication.k8s.io`, as kube-apiserver has them. Their only verb is create."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from app.machinery.kind import GroupVersion, Kind
from app.machinery.objects import Wire

AUTHENTICATION = GroupVersion("authentication.k8s.io", "v1")
AUTHORIZATION = GroupVersion("authorization.k8s.io", "v1")
REVIEW_VERBS = ("create",)

_ATOMIC = Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})
_Texts = Annotated[list[str], _ATOMIC]


class UserInfo(Wire):
    """UserInfo is what is known of a user."""

    username: str | None = None
    """The name that no other active user has."""
    uid: str | None = None
    """Tells apart users who had the same name at different times."""
    groups: _Texts = Field(default_factory=list)
    """The names of the groups that the user is in."""
    extra: dict[str, list[str]] = Field(default_factory=dict)
    """What else the authenticator says of the user."""


class SelfSubjectReviewStatus(Wire):
    """SelfSubjectReviewStatus says who asked."""

    user_info: UserInfo | None = None
    """Who asked; with impersonation, who that is meant to be."""


class SelfSubjectReview(Wire):
    """What is answered to who asks about themselves."""

    status: SelfSubjectReviewStatus | None = None
    """Filled in by the server: who asked."""


class TokenReviewSpec(Wire):
    """TokenReviewSpec is the token that is asked about."""

    token: str | None = None
    """The bearer token."""
    audiences: _Texts = Field(default_factory=list)
    """Whom the token should be meant for, any one of these; none is the API server."""


class TokenReviewStatus(Wire):
    """TokenReviewStatus says whose token it is."""

    authenticated: bool | None = None
    """True if the token is a known user's."""
    user: UserInfo | None = None
    """Whose token it is."""
    audiences: _Texts = Field(default_factory=list)
    """Those of the audiences asked about that the token is meant for."""
    error: str | None = None
    """Why the token could not be checked."""


class TokenReview(Wire):
    """Whose a token is."""

    spec: TokenReviewSpec
    """What is asked."""
    status: TokenReviewStatus | None = None
    """Filled in by the server: whose token it is."""


class FieldSelectorRequirement(Wire):
    """FieldSelectorRequirement is a field, an operator and values."""

    key: str
    """The field."""
    operator: str
    """In, NotIn, Exists or DoesNotExist; there may be more of them one day."""
    values: _Texts = Field(default_factory=list)
    """One or more for In and NotIn, none for Exists and DoesNotExist."""


class LabelSelectorRequirement(Wire):
    """LabelSelectorRequirement is a label, an operator and values."""

    key: str
    """The label."""
    operator: str
    """In, NotIn, Exists or DoesNotExist."""
    values: _Texts = Field(default_factory=list)
    """One or more for In and NotIn, none for Exists and DoesNotExist."""


class FieldSelectorAttributes(Wire):
    """FieldSelectorAttributes says to which fields the access is limited."""

    raw_selector: str | None = None
    """The selector as it stands in a query; only without requirements."""
    requirements: Annotated[list[FieldSelectorRequirement], _ATOMIC] = Field(default_factory=list)
    """The selector taken apart: all of them limit the access."""


class LabelSelectorAttributes(Wire):
    """LabelSelectorAttributes says to which labels the access is limited."""

    raw_selector: str | None = None
    """The selector as it stands in a query; only without requirements."""
    requirements: Annotated[list[LabelSelectorRequirement], _ATOMIC] = Field(default_factory=list)
    """The selector taken apart: all of them limit the access."""


class ResourceAttributes(Wire):
    """ResourceAttributes is a request for a resource."""

    namespace: str | None = None
    """The namespace; empty is none for resources that have none, and else all of them."""
    verb: str | None = None
    """get, list, watch, create, update, patch, delete, …; * is every one."""
    group: str | None = None
    """The group of the resource; * is every one."""
    version: str | None = None
    """The version of the resource; * is every one."""
    resource: str | None = None
    """The resource's plural; * is every one."""
    subresource: str | None = None
    """The subresource; empty is none."""
    name: str | None = None
    """The name of the object; empty is all of them."""
    field_selector: FieldSelectorAttributes | None = None
    """Limits the access by fields. Roles do not look at it."""
    label_selector: LabelSelectorAttributes | None = None
    """Limits the access by labels. Roles do not look at it."""


class NonResourceAttributes(Wire):
    """NonResourceAttributes is a request for a path that is no resource's."""

    path: str | None = None
    """The path."""
    verb: str | None = None
    """The HTTP verb."""


class SelfSubjectAccessReviewSpec(Wire):
    """SelfSubjectAccessReviewSpec is what is asked: exactly one of the two."""

    resource_attributes: ResourceAttributes | None = None
    """A request for a resource."""
    non_resource_attributes: NonResourceAttributes | None = None
    """A request for another path."""


class SubjectAccessReviewSpec(Wire):
    """SubjectAccessReviewSpec is what is asked, exactly one of the two, and of whom."""

    resource_attributes: ResourceAttributes | None = None
    """A request for a resource."""
    non_resource_attributes: NonResourceAttributes | None = None
    """A request for another path."""
    user: str | None = None
    """The user. With no groups beside it: what if the user were in none?"""
    groups: _Texts = Field(default_factory=list)
    """The groups."""
    extra: dict[str, list[str]] = Field(default_factory=dict)
    """What else the authenticator says of the user."""
    uid: str | None = None
    """The user's UID."""


class SubjectAccessReviewStatus(Wire):
    """SubjectAccessReviewStatus says whether it is allowed."""

    allowed: bool
    """True if it is allowed."""
    denied: bool | None = None
    """True if it is denied. Neither allowed nor denied: nobody has an opinion, and it is refused."""
    reason: str | None = None
    """Why it is allowed or denied."""
    evaluation_error: str | None = None
    """What went wrong meanwhile; there may be an answer all the same."""


class SelfSubjectAccessReview(Wire):
    """Whether the asker may do something."""

    spec: SelfSubjectAccessReviewSpec
    """What is asked."""
    status: SubjectAccessReviewStatus | None = None
    """Filled in by the server: whether it is allowed."""


class SubjectAccessReview(Wire):
    """Whether somebody may do something."""

    spec: SubjectAccessReviewSpec
    """What is asked."""
    status: SubjectAccessReviewStatus | None = None
    """Filled in by the server: whether it is allowed."""


class LocalSubjectAccessReview(Wire):
    """Whether somebody may do something in a namespace."""

    spec: SubjectAccessReviewSpec
    """What is asked. The namespace in it must be that of the request."""
    status: SubjectAccessReviewStatus | None = None
    """Filled in by the server: whether it is allowed."""


class SelfSubjectRulesReviewSpec(Wire):
    """SelfSubjectRulesReviewSpec says where."""

    namespace: str | None = None
    """The namespace. Required."""


class ResourceRule(Wire):
    """ResourceRule is what may be done to resources."""

    verbs: Annotated[list[str], _ATOMIC]
    """What may be done; * is everything."""
    api_groups: _Texts = Field(default_factory=list)
    """The groups of the resources; * is every one."""
    resources: _Texts = Field(default_factory=list)
    """The resources; * is every one, and */foo the subresource foo of every one."""
    resource_names: _Texts = Field(default_factory=list)
    """Only objects of these names. Empty: all of them."""


class NonResourceRule(Wire):
    """NonResourceRule is what may be done to paths that are no resources'."""

    verbs: Annotated[list[str], _ATOMIC]
    """What may be done; * is everything."""
    non_resource_urls: _Texts = Field(default_factory=list, alias="nonResourceURLs")
    """The paths, perhaps with a * as the whole last step."""


class SubjectRulesReviewStatus(Wire):
    """SubjectRulesReviewStatus says what is allowed, as far as is known: what is listed is allowed."""

    resource_rules: Annotated[list[ResourceRule], _ATOMIC]
    """What may be done to resources, in no order."""
    non_resource_rules: Annotated[list[NonResourceRule], _ATOMIC]
    """What may be done to other paths, in no order."""
    incomplete: bool
    """True if there may be more than is told."""
    evaluation_error: str | None = None
    """What went wrong meanwhile, for which the rules may be incomplete."""


class SelfSubjectRulesReview(Wire):
    """What the asker may do in a namespace."""

    spec: SelfSubjectRulesReviewSpec
    """What is asked."""
    status: SubjectRulesReviewStatus | None = None
    """Filled in by the server: what is allowed."""


def _review(group_version: GroupVersion, body: type[Wire], description: str, *, namespaced: bool = False) -> Review:
    name = body.__name__
    return Kind(
        name=name,
        plural=f"{name.lower()}s",
        served=(group_version,),
        spec=Wire,
        status=Wire,
        body=body,
        description=f"{name} {description}",
        namespaced=namespaced,
        typed=True,
        any_name=True,
        blank={"spec": {}},
        has_status=False,
    )


Review = Kind[Any, Any]

SELF_SUBJECT_REVIEW = _review(AUTHENTICATION, SelfSubjectReview, "asks who the asker is.")
TOKEN_REVIEW = _review(AUTHENTICATION, TokenReview, "asks whose a token is.")
LOCAL_SUBJECT_ACCESS_REVIEW = _review(
    AUTHORIZATION,
    LocalSubjectAccessReview,
    "asks whether a user or a group may do something in a namespace.",
    namespaced=True,
)
SELF_SUBJECT_ACCESS_REVIEW = _review(
    AUTHORIZATION,
    SelfSubjectAccessReview,
    "asks whether the asker may do something; without a namespace, in all of them.",
)
SELF_SUBJECT_RULES_REVIEW = _review(
    AUTHORIZATION,
    SelfSubjectRulesReview,
    "asks what the asker may do in a namespace. It is for showing; who decides by it should ask a SubjectAccessReview.",
)
SUBJECT_ACCESS_REVIEW = _review(AUTHORIZATION, SubjectAccessReview, "asks whether a user or a group may do something.")

REVIEWS: tuple[Review, ...] = (
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
)
"""Listed in the order of their plurals, group by group, as kube-apiserver lists them."""
