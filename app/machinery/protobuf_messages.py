"""The messages of Kubernetes' protobuf that are read and written here: each field's number and what it is.

The numbers are those of kube-apiserver's generated.proto, which never change. A field that no message has is not sent: a
client of such a message does not know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Scalar(Enum):
    """What a field holds that is no message of this page. Of an optional one, nought is something that was said."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OPTIONAL_INTEGER = "optional integer"
    OPTIONAL_BOOLEAN = "optional boolean"
    TIME = "time"
    MOMENT = "time to the microsecond"
    QUANTITY = "quantity"
    DOCUMENT = "JSON"
    """A document of any form, as its bytes."""
    TEXTS = "a message of texts"


@dataclass(frozen=True, slots=True)
class Field:
    """`of` is a Scalar or the name of a message."""

    number: int
    of: Scalar | str
    repeated: bool = False
    map: bool = False


Message = Mapping[str, Field]

_T, _I, _B = Scalar.TEXT, Scalar.INTEGER, Scalar.BOOLEAN


def _texts(number: int) -> Field:
    return Field(number, _T, repeated=True)


def _many(number: int, of: str) -> Field:
    return Field(number, of, repeated=True)


def _map(number: int, of: Scalar = _T) -> Field:
    return Field(number, of, map=True)


def _message(**fields: int | tuple[int, Scalar | str] | Field) -> Message:
    """A number alone is a text's; with what it is beside it, one of these."""
    return {
        name: Field(field, _T) if isinstance(field, int) else Field(*field) if isinstance(field, tuple) else field
        for name, field in fields.items()
    }


def _list(item: str) -> Message:
    return _message(metadata=(1, "ListMeta"), items=_many(2, item))


def _object(spec: str = "", status: str = "") -> Message:
    parts = {"spec": (2, spec)} if spec else {}
    return _message(metadata=(1, "ObjectMeta"), **parts, **({"status": (3, status)} if status else {}))


_TIME, _QUANTITY = Scalar.TIME, Scalar.QUANTITY

_META: Mapping[str, Message] = {
    "ObjectMeta": _message(
        name=1,
        generateName=2,
        namespace=3,
        selfLink=4,
        uid=5,
        resourceVersion=6,
        generation=(7, _I),
        creationTimestamp=(8, _TIME),
        deletionTimestamp=(9, _TIME),
        deletionGracePeriodSeconds=(10, Scalar.OPTIONAL_INTEGER),
        labels=_map(11),
        annotations=_map(12),
        ownerReferences=_many(13, "OwnerReference"),
        finalizers=_texts(14),
        managedFields=_many(17, "ManagedFieldsEntry"),
    ),
    "OwnerReference": _message(
        kind=1,
        name=3,
        uid=4,
        apiVersion=5,
        controller=(6, Scalar.OPTIONAL_BOOLEAN),
        blockOwnerDeletion=(7, Scalar.OPTIONAL_BOOLEAN),
    ),
    "ManagedFieldsEntry": _message(
        manager=1,
        operation=2,
        apiVersion=3,
        time=(4, _TIME),
        fieldsType=6,
        fieldsV1=(7, Scalar.DOCUMENT),
        subresource=8,
    ),
    "ListMeta": _message(
        selfLink=1, resourceVersion=2, **{"continue": 3}, remainingItemCount=(4, Scalar.OPTIONAL_INTEGER)
    ),
    "Status": _message(
        metadata=(1, "ListMeta"), status=2, message=3, reason=4, details=(5, "StatusDetails"), code=(6, _I)
    ),
    "StatusDetails": _message(
        name=1, group=2, kind=3, causes=_many(4, "StatusCause"), retryAfterSeconds=(5, _I), uid=6
    ),
    "StatusCause": _message(reason=1, message=2, field=3),
    "DeleteOptions": _message(
        gracePeriodSeconds=(1, Scalar.OPTIONAL_INTEGER),
        preconditions=(2, "Preconditions"),
        orphanDependents=(3, Scalar.OPTIONAL_BOOLEAN),
        propagationPolicy=4,
        dryRun=_texts(5),
    ),
    "Preconditions": _message(uid=1, resourceVersion=2),
    "PartialObjectMetadata": _object(),
    "PartialObjectMetadataList": _list("PartialObjectMetadata"),
}

_DISCOVERY: Mapping[str, Message] = {
    "APIVersions": _message(versions=_texts(1), serverAddressByClientCIDRs=_many(2, "ServerAddressByClientCIDR")),
    "APIGroupList": _message(groups=_many(1, "APIGroup")),
    "APIGroup": _message(
        name=1,
        versions=_many(2, "GroupVersionForDiscovery"),
        preferredVersion=(3, "GroupVersionForDiscovery"),
        serverAddressByClientCIDRs=_many(4, "ServerAddressByClientCIDR"),
    ),
    "APIResourceList": _message(groupVersion=1, resources=_many(2, "APIResource")),
    "APIResource": _message(
        name=1,
        namespaced=(2, _B),
        kind=3,
        verbs=(4, Scalar.TEXTS),
        shortNames=_texts(5),
        singularName=6,
        categories=_texts(7),
        group=8,
        version=9,
        storageVersionHash=10,
    ),
    "GroupVersionForDiscovery": _message(groupVersion=1, version=2),
    "ServerAddressByClientCIDR": _message(clientCIDR=1, serverAddress=2),
}

_CONDITION: Mapping[str, int | tuple[int, Scalar | str] | Field] = {
    "type": 1,
    "status": 2,
    "lastTransitionTime": (4, _TIME),
    "reason": 5,
    "message": 6,
}

_CORE: Mapping[str, Message] = {
    "Namespace": _object("NamespaceSpec", "NamespaceStatus"),
    "NamespaceSpec": _message(finalizers=_texts(1)),
    "NamespaceStatus": _message(phase=1, conditions=_many(2, "NamespaceCondition")),
    "NamespaceCondition": _message(**_CONDITION),
    "Node": _object("NodeSpec", "NodeStatus"),
    "NodeSpec": _message(podCIDR=1, providerID=3, unschedulable=(4, _B), taints=_many(5, "Taint"), podCIDRs=_texts(7)),
    "Taint": _message(key=1, value=2, effect=3, timeAdded=(4, _TIME)),
    "NodeStatus": _message(
        capacity=_map(1, _QUANTITY),
        allocatable=_map(2, _QUANTITY),
        phase=3,
        conditions=_many(4, "NodeCondition"),
        addresses=_many(5, "NodeAddress"),
        nodeInfo=(7, "NodeSystemInfo"),
    ),
    "NodeCondition": _message(**_CONDITION, lastHeartbeatTime=(3, _TIME)),
    "NodeAddress": _message(type=1, address=2),
    "NodeSystemInfo": _message(
        machineID=1,
        systemUUID=2,
        bootID=3,
        kernelVersion=4,
        osImage=5,
        containerRuntimeVersion=6,
        kubeletVersion=7,
        kubeProxyVersion=8,
        operatingSystem=9,
        architecture=10,
    ),
    "Pod": _object("PodSpec", "PodStatus"),
    "PodSpec": _message(
        containers=_many(2, "Container"),
        restartPolicy=3,
        terminationGracePeriodSeconds=(4, Scalar.OPTIONAL_INTEGER),
        nodeSelector=_map(7),
        nodeName=10,
        affinity=(18, "Affinity"),
    ),
    "Container": _message(name=1, image=2, command=_texts(3), args=_texts(4), resources=(8, "ResourceRequirements")),
    "ResourceRequirements": _message(limits=_map(1, _QUANTITY), requests=_map(2, _QUANTITY)),
    "Affinity": _message(nodeAffinity=(1, "NodeAffinity")),
    "NodeAffinity": _message(
        requiredDuringSchedulingIgnoredDuringExecution=(1, "NodeSelector"),
        preferredDuringSchedulingIgnoredDuringExecution=_many(2, "PreferredSchedulingTerm"),
    ),
    "NodeSelector": _message(nodeSelectorTerms=_many(1, "NodeSelectorTerm")),
    "NodeSelectorTerm": _message(
        matchExpressions=_many(1, "NodeSelectorRequirement"), matchFields=_many(2, "NodeSelectorRequirement")
    ),
    "NodeSelectorRequirement": _message(key=1, operator=2, values=_texts(3)),
    "PreferredSchedulingTerm": _message(weight=(1, _I), preference=(2, "NodeSelectorTerm")),
    "PodStatus": _message(
        phase=1,
        conditions=_many(2, "PodCondition"),
        message=3,
        reason=4,
        hostIP=5,
        podIP=6,
        startTime=(7, _TIME),
        containerStatuses=_many(8, "ContainerStatus"),
        qosClass=9,
        podIPs=_many(12, "PodIP"),
    ),
    "PodCondition": _message(**_CONDITION, lastProbeTime=(3, _TIME)),
    "PodIP": _message(ip=1),
    "ContainerStatus": _message(
        name=1,
        state=(2, "ContainerState"),
        lastState=(3, "ContainerState"),
        ready=(4, _B),
        restartCount=(5, _I),
        image=6,
        imageID=7,
        containerID=8,
        started=(9, Scalar.OPTIONAL_BOOLEAN),
    ),
    "ContainerState": _message(
        waiting=(1, "ContainerStateWaiting"),
        running=(2, "ContainerStateRunning"),
        terminated=(3, "ContainerStateTerminated"),
    ),
    "ContainerStateWaiting": _message(reason=1, message=2),
    "ContainerStateRunning": _message(startedAt=(1, _TIME)),
    "ContainerStateTerminated": _message(
        exitCode=(1, _I),
        signal=(2, _I),
        reason=3,
        message=4,
        startedAt=(5, _TIME),
        finishedAt=(6, _TIME),
        containerID=7,
    ),
    "Event": _message(
        metadata=(1, "ObjectMeta"),
        involvedObject=(2, "ObjectReference"),
        reason=3,
        message=4,
        source=(5, "EventSource"),
        firstTimestamp=(6, _TIME),
        lastTimestamp=(7, _TIME),
        count=(8, _I),
        type=9,
        eventTime=(10, Scalar.MOMENT),
        series=(11, "EventSeries"),
        action=12,
        related=(13, "ObjectReference"),
        reportingComponent=14,
        reportingInstance=15,
    ),
    "ObjectReference": _message(kind=1, namespace=2, name=3, uid=4, apiVersion=5, resourceVersion=6, fieldPath=7),
    "EventSource": _message(component=1, host=2),
    "EventSeries": _message(count=(1, _I), lastObservedTime=(2, Scalar.MOMENT)),
    **{f"{kind}List": _list(kind) for kind in ("Namespace", "Node", "Pod", "Event", "Service")},
    "Service": _object(),
}

_RBAC: Mapping[str, Message] = {
    "Role": _message(metadata=(1, "ObjectMeta"), rules=_many(2, "PolicyRule")),
    "ClusterRole": _message(
        metadata=(1, "ObjectMeta"), rules=_many(2, "PolicyRule"), aggregationRule=(3, "AggregationRule")
    ),
    "PolicyRule": _message(
        verbs=_texts(1), apiGroups=_texts(2), resources=_texts(3), resourceNames=_texts(4), nonResourceURLs=_texts(5)
    ),
    "AggregationRule": _message(clusterRoleSelectors=_many(1, "LabelSelector")),
    "LabelSelector": _message(matchLabels=_map(1), matchExpressions=_many(2, "LabelSelectorRequirement")),
    "LabelSelectorRequirement": _message(key=1, operator=2, values=_texts(3)),
    **{
        kind: _message(metadata=(1, "ObjectMeta"), subjects=_many(2, "Subject"), roleRef=(3, "RoleRef"))
        for kind in ("RoleBinding", "ClusterRoleBinding")
    },
    "Subject": _message(kind=1, apiGroup=2, name=3, namespace=4),
    "RoleRef": _message(apiGroup=1, kind=2, name=3),
    "ServiceAccount": _message(
        metadata=(1, "ObjectMeta"),
        secrets=_many(2, "ObjectReference"),
        imagePullSecrets=_many(3, "LocalObjectReference"),
        automountServiceAccountToken=(4, Scalar.OPTIONAL_BOOLEAN),
    ),
    "LocalObjectReference": _message(name=1),
    **{
        f"{kind}List": _list(kind)
        for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount")
    },
}

_EXTRA = Scalar.TEXTS
_REVIEWS: Mapping[str, Message] = {
    "SelfSubjectAccessReview": _object("SelfSubjectAccessReviewSpec", "SubjectAccessReviewStatus"),
    "SubjectAccessReview": _object("SubjectAccessReviewSpec", "SubjectAccessReviewStatus"),
    "LocalSubjectAccessReview": _object("SubjectAccessReviewSpec", "SubjectAccessReviewStatus"),
    "SelfSubjectAccessReviewSpec": _message(
        resourceAttributes=(1, "ResourceAttributes"), nonResourceAttributes=(2, "NonResourceAttributes")
    ),
    "SubjectAccessReviewSpec": _message(
        resourceAttributes=(1, "ResourceAttributes"),
        nonResourceAttributes=(2, "NonResourceAttributes"),
        user=3,
        groups=_texts(4),
        extra=_map(5, _EXTRA),
        uid=6,
    ),
    "ResourceAttributes": _message(namespace=1, verb=2, group=3, version=4, resource=5, subresource=6, name=7),
    "NonResourceAttributes": _message(path=1, verb=2),
    "SubjectAccessReviewStatus": _message(allowed=(1, _B), reason=2, evaluationError=3, denied=(4, _B)),
    "SelfSubjectRulesReview": _object("SelfSubjectRulesReviewSpec", "SubjectRulesReviewStatus"),
    "SelfSubjectRulesReviewSpec": _message(namespace=1),
    "SubjectRulesReviewStatus": _message(
        resourceRules=_many(1, "ResourceRule"),
        nonResourceRules=_many(2, "NonResourceRule"),
        incomplete=(3, _B),
        evaluationError=4,
    ),
    "ResourceRule": _message(verbs=_texts(1), apiGroups=_texts(2), resources=_texts(3), resourceNames=_texts(4)),
    "NonResourceRule": _message(verbs=_texts(1), nonResourceURLs=_texts(2)),
    "SelfSubjectReview": _message(metadata=(1, "ObjectMeta"), status=(2, "SelfSubjectReviewStatus")),
    "SelfSubjectReviewStatus": _message(userInfo=(1, "UserInfo")),
    "UserInfo": _message(username=1, uid=2, groups=_texts(3), extra=_map(4, _EXTRA)),
    "TokenReview": _object("TokenReviewSpec", "TokenReviewStatus"),
    "TokenReviewSpec": _message(token=1, audiences=_texts(2)),
    "TokenReviewStatus": _message(authenticated=(1, _B), user=(2, "UserInfo"), error=3, audiences=_texts(4)),
    "TokenRequest": _object("TokenRequestSpec", "TokenRequestStatus"),
    "TokenRequestSpec": _message(
        audiences=_texts(1), boundObjectRef=(3, "BoundObjectReference"), expirationSeconds=(4, Scalar.OPTIONAL_INTEGER)
    ),
    "BoundObjectReference": _message(kind=1, apiVersion=2, name=3, uid=4),
    "TokenRequestStatus": _message(token=1, expirationTimestamp=(2, _TIME)),
}

MESSAGES: Mapping[str, Message] = {**_META, **_DISCOVERY, **_CORE, **_RBAC, **_REVIEWS}

READ = (
    *("Namespace", "Node", "Pod", "Event", "DeleteOptions"),
    *("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"),
    *("SelfSubjectAccessReview", "SubjectAccessReview", "LocalSubjectAccessReview", "SelfSubjectRulesReview"),
    *("SelfSubjectReview", "TokenReview", "TokenRequest"),
)
"""The kinds of bodies that clients send so."""
