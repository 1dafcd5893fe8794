"""What is done to whom and when: a seeded sequence in which every victim meets every step. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from app.controllers.migration.steps import Step


class Moment(StrEnum):
    """When a fault strikes: a named step of a migration, or what the controller's log says of its phase."""

    PENDING = "pending"
    RESERVED = "reserved"
    """Running, by the controller: the target pod is made, and no worker has the run yet."""
    CLAIMED = Step.CLAIMED.value
    PREPARING = Step.PREPARING.value
    TAKEN_OVER = Step.TAKEN_OVER.value
    MARKED = Step.MARKED.value
    CALLED = Step.CALLED.value
    COPYING = Step.COPYING.value
    POST_COPY = Step.POST_COPY.value
    SWITCHING = Step.SWITCHING.value
    ARRIVED = Step.ARRIVED.value
    SETTLING = Step.SETTLING.value
    KNOWN = Step.KNOWN.value
    FINISHED = Step.FINISHED.value
    CONCLUDED = "concluded"
    """The phase is final: what is left of the guest's source is to be cleaned away."""
    ANY = "any"
    """Whatever is under way."""


class Victim(StrEnum):
    """Whose process it is."""

    API = "api"
    WORKER = "worker"
    PROCESS = "process"
    """The migration's own."""
    BOTH = "worker+process"
    SOURCE_LIBVIRTD = "source-libvirtd"
    TARGET_LIBVIRTD = "target-libvirtd"
    SOURCE_QEMU = "source-qemu"
    TARGET_QEMU = "target-qemu"
    POSTGRES = "postgres"


class Blow(StrEnum):
    """What is done to it."""

    KILL = "kill"
    STOP_5 = "stop 5 s"
    STOP_20 = "stop 20 s"
    STOP_60 = "stop 60 s"

    @property
    def seconds(self) -> float:
        """How long it is stopped; 0 for one that is killed."""
        return 0.0 if self is Blow.KILL else float(self.value.split()[1])


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow."""

    victim: Victim
    blow: Blow
    moment: Moment


WITH_PROCESS = frozenset(Moment) - {
    Moment.PENDING, Moment.RESERVED, Moment.CLAIMED, Moment.FINISHED, Moment.CONCLUDED,
}  # fmt: skip
"""When the migration's process is there."""
WITH_TARGET = frozenset({Moment.COPYING, Moment.SWITCHING, Moment.ARRIVED, Moment.SETTLING, Moment.KNOWN, Moment.ANY})
"""When there is a QEMU on the target. In post-copy a guest has one half on each host: either QEMU's death is its own."""
RARE = {Victim.SOURCE_QEMU: 5}
"""Every guest whose QEMU was killed must be made anew: one of so many."""
STOPPABLE = frozenset(
    {
        Victim.API,
        Victim.WORKER,
        Victim.PROCESS,
        Victim.BOTH,
        Victim.SOURCE_LIBVIRTD,
        Victim.TARGET_LIBVIRTD,
        Victim.POSTGRES,
    }
)
BLOWS = (Blow.KILL,) * 22 + (Blow.STOP_5,) * 8 + (Blow.STOP_20,) * 3 + (Blow.STOP_60,)
SHORT_BLOWS = (Blow.KILL,) * 5 + (Blow.STOP_5,)


def possible(victim: Victim, moment: Moment) -> bool:
    """Whether that victim exists then."""
    match victim:
        case Victim.PROCESS | Victim.BOTH:
            return moment in WITH_PROCESS
        case Victim.TARGET_QEMU:
            return moment in WITH_TARGET
        case Victim.SOURCE_QEMU:
            return moment is not Moment.POST_COPY
        case _:
            return True


def schedule(seed: int, *, blows: tuple[Blow, ...] = BLOWS) -> Iterator[Fault]:
    """Without end: all pairs in a shuffled order, then all of them in another one."""
    random = Random(seed)
    while True:
        pairs = [
            (victim, moment)
            for victim in Victim
            for moment in Moment
            if possible(victim, moment) and random.randrange(RARE.get(victim, 1)) == 0
        ]
        random.shuffle(pairs)
        for victim, moment in pairs:
            yield Fault(victim, random.choice(blows) if victim in STOPPABLE else Blow.KILL, moment)


@dataclass
class Deck:
    """The sequence in rounds. A fault whose moment did not come has its turn in a later one, a few times."""

    faults: Iterator[Fault]
    _again: list[Fault] = field(default_factory=list)
    _tries: Counter[Fault] = field(default_factory=Counter)

    def take(self, count: int) -> list[Fault]:
        """The longest first: while somebody is stopped, others die."""
        again, self._again = self._again[: count // 2], self._again[count // 2 :]
        taken = [*again, *(next(self.faults) for _ in range(count - len(again)))]
        return sorted(taken, key=lambda fault: -fault.blow.seconds)

    def put_back(self, fault: Fault) -> None:
        self._tries[fault] += 1
        if self._tries[fault] < 4:
            self._again.append(fault)
