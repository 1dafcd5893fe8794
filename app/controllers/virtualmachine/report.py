"""What a VirtualMachine's and its pod's status say after something was seen. Documents in, new documents out."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from app.kinds import names
from app.kinds.pod import Phase as PodPhase
from app.kinds.virtualmachine import ConditionType, Phase, Reason, VMCondition, VMStatus
from app.machinery.objects import Document, with_condition

_POD_PHASES: Mapping[Phase, PodPhase] = {
    Phase.RUNNING: PodPhase.RUNNING,
    Phase.SUCCEEDED: PodPhase.SUCCEEDED,
    Phase.FAILED: PodPhase.FAILED,
}


def with_phase(vm: Document, phase: Phase) -> Document:
    """In that phase."""
    changed = copy.deepcopy(vm)
    changed.setdefault("status", {})["phase"] = phase.value
    return changed


def on_node(vm: Document, node: str) -> Document:
    """Bound to that node: status.nodeName and the label say so together."""
    changed = copy.deepcopy(vm)
    changed.setdefault("status", {})["nodeName"] = node
    changed["metadata"].setdefault("labels", {})[names.NODE_NAME] = node
    return changed


def with_vm_condition(
    vm: Document, type_: ConditionType, status: str, reason: Reason, message: str, now: str
) -> Document:
    """With that condition; its transition time moves when its status does."""
    changed = copy.deepcopy(vm)
    status_ = VMStatus.read(changed.get("status") or {})
    new = VMCondition(type=type_, status=status, reason=reason, message=message)
    told = with_condition(status_.conditions, new, now)
    changed.setdefault("status", {})["conditions"] = [condition.dump() for condition in told]
    return changed


def without_condition(vm: Document, type_: ConditionType) -> Document:
    """Without that condition."""
    changed = copy.deepcopy(vm)
    conditions = (changed.get("status") or {}).get("conditions") or []
    if conditions:
        changed["status"]["conditions"] = [c for c in conditions if c.get("type") != type_]
    return changed


def reported(vm: Document, phase: Phase, reason: Reason, message: str, paused: bool, now: str) -> Document:
    """The VM as its guest was seen; its label says where, also after somebody replaced the object without it."""
    ready = "Unknown" if phase is Phase.UNKNOWN else "True" if phase is Phase.RUNNING else "False"
    said = Reason.GUEST_RUNNING if paused else reason
    node = (vm.get("status") or {}).get("nodeName")
    labelled = on_node(vm, node) if node else vm
    changed = with_vm_condition(with_phase(labelled, phase), ConditionType.READY, ready, said, message, now)
    if paused:
        return with_vm_condition(changed, ConditionType.PAUSED, "True", Reason.GUEST_PAUSED, message, now)
    return changed if phase is Phase.UNKNOWN else without_condition(changed, ConditionType.PAUSED)


def reason_of(vm: Document) -> str | None:
    """Of its condition Ready, as it was told last."""
    conditions = (vm.get("status") or {}).get("conditions") or ()
    return next((c.get("reason") for c in conditions if c.get("type") == ConditionType.READY), None)


def is_paused(vm: Document) -> bool:
    """As it was told last."""
    conditions = (vm.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == ConditionType.PAUSED and c.get("status") == "True" for c in conditions)


def pod_reported(pod: Document, phase: Phase, reason: Reason, message: str, now: str) -> Document:
    """The pod of a VM in that phase; of one whose host does not answer it stays as it was."""
    pod_phase = _POD_PHASES.get(phase)
    if pod_phase is None or (pod.get("status") or {}).get("phase") == pod_phase:
        return pod
    changed = copy.deepcopy(pod)
    status = changed.setdefault("status", {})
    status["phase"] = pod_phase.value
    status.setdefault("startTime", now)
    running = pod_phase is PodPhase.RUNNING
    state: Document = {"running": {"startedAt": now}}
    if not running:
        exit_code = 0 if pod_phase is PodPhase.SUCCEEDED else 1
        word = "Completed" if pod_phase is PodPhase.SUCCEEDED else reason.value
        state = {"terminated": {"exitCode": exit_code, "reason": word, "message": message, "finishedAt": now}}
    container = changed["spec"]["containers"][0]["name"]
    status["containerStatuses"] = [
        {"name": container, "ready": running, "restartCount": 0, "state": state, "image": "", "imageID": ""}
    ]
    status["conditions"] = [
        {"type": type_, "status": "True" if running or type_ == "PodScheduled" else "False", "lastTransitionTime": now}
        for type_ in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return changed
