"""Topics that come to be because somebody named them: a client (auto.create.topics.enable), with the cluster's
defaults, or a coordinator, by a template.

    ensure(names) ─→ waiting ─→ one CreateTopics after the other, up to `BATCH_MAX` names each ─→ everybody is told

Invariants
- A name is asked for once at a time, however many clients want it; one request is under way at a time.
- What waits is bounded (`WAITING_MAX`); a name beyond that is refused for now.
- A client that goes away takes nothing from the others.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from broker.controller.topic_names import is_topic_name
from broker.metadata.internal_topics import TopicTemplate
from broker.rpc.ports import ControllerLink, ImageSource
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    KraftpyError,
    LeaderNotAvailableError,
    NotControllerError,
    RetriableError,
    ThrottlingQuotaExceededError,
    TopicAlreadyExistsError,
)
from kraftpy.pb.admin_pb2 import CreateTopicsRequest, TopicResults

BATCH_MAX = 100
"""Names in one request: it is one atomic entry of the quorum's log."""
WAITING_MAX = 1_000
TIMEOUT_MS = 5_000
"""For one request. A controller that is being elected is found sooner; clients ask again anyway."""

BRIEFLY_MS = 300
"""How long an answer about metadata waits for topics that are being created: usually long enough. What is not there by
then is answered LEADER_NOT_AVAILABLE, because the caller may also be asking who leads the topics that it has."""

_DEFAULTS = TopicTemplate(-1, -1, {})

Outcome = KraftpyError | None


class TopicCreation:
    """See the module's docstring."""

    def __init__(
        self,
        link: ControllerLink,
        enabled: bool,
        view: ImageSource,
        template: Callable[[str], TopicTemplate | None] = lambda name: None,
    ) -> None:
        """`enabled`: whether clients may. `template`: of the topics that are not made with the cluster's defaults."""
        self.enabled = enabled
        self._template = template
        self._link = link
        self._view = view
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}  # not asked for yet
        self._asked: dict[str, asyncio.Future[Outcome]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ensure(self, names: Sequence[str]) -> Mapping[str, KraftpyError]:
        """Have topics created where they do not exist; returns what could not be, by name.

        A topic that is missing in the answer exists, and this node knows it, unless it was created elsewhere at the
        same time: then it soon does.
        """
        outcomes = {name: self._ask_for(name) for name in dict.fromkeys(names) if not self._exists(name)}
        errors: dict[str, KraftpyError] = {}
        for name, outcome in outcomes.items():
            error = await asyncio.shield(outcome)
            if error is not None:
                errors[name] = error
        return errors

    async def try_briefly(self, names: Sequence[str]) -> Mapping[str, KraftpyError]:
        """Have those of `names` created that could exist and do not, where that is enabled, and wait for it a little.

        Returns why what is not there is not there, by name; a name that could be no topic's is left out.
        """
        wanted = [name for name in names if not self._exists(name) and is_topic_name(name)]
        if not self.enabled or not wanted:
            return {}
        pending: KraftpyError = LeaderNotAvailableError("the topic is being created")
        errors = dict.fromkeys(wanted, pending)
        try:
            async with asyncio.timeout(BRIEFLY_MS / 1_000):
                refused = await self.ensure(wanted)
        except TimeoutError:
            return errors
        # What passes is one and the same to whoever waits for a topic: not there yet.
        return errors | {name: error for name, error in refused.items() if not isinstance(error, RetriableError)}

    async def stop(self) -> None:
        """Ask for nothing more; whoever waits is told that there is no controller."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._give_up()

    def _exists(self, name: str) -> bool:
        return name in self._view.image.topic_ids

    def _ask_for(self, name: str) -> "asyncio.Future[Outcome]":
        known = self._asked.get(name) or self._waiting.get(name)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        if len(self._waiting) >= WAITING_MAX:
            outcome.set_result(ThrottlingQuotaExceededError("too many topics wait for their creation; try again later"))
            return outcome
        self._waiting[name] = outcome
        if self._task is None:
            self._task = loop.create_task(self._run())
        return outcome

    async def _run(self) -> None:
        """While anybody waits."""
        try:
            while self._waiting:
                for name in list(self._waiting)[:BATCH_MAX]:
                    self._asked[name] = self._waiting.pop(name)
                outcomes = await self._create([name for name in self._asked if not self._exists(name)])
                self._tell(outcomes)
        finally:
            self._task = None
            self._give_up()

    def _give_up(self) -> None:
        """Whoever is not answered yet hears that it did not happen."""
        self._asked |= self._waiting
        self._waiting = {}
        self._tell(dict.fromkeys(self._asked, NotControllerError("this node creates no topics any more")))

    async def _create(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        request = CreateTopicsRequest(timeout_ms=TIMEOUT_MS)
        for name in names:
            template = self._template(name) or _DEFAULTS
            partitions, replication_factor, settings = template
            topic = request.topics.add(name=name, partitions=partitions, replication_factor=replication_factor)
            topic.config.update(settings)
        try:
            payload = await self._link.run("CreateTopics", request.SerializeToString(), TIMEOUT_MS) if names else b""
        except KraftpyError as error:
            return dict.fromkeys(names, error)
        outcomes: dict[str, Outcome] = {}
        for result in TopicResults.FromString(payload).topics:
            refusal = None if result.error == NO_ERROR else error_for(result.error, result.error_message)
            outcomes[result.name] = None if isinstance(refusal, TopicAlreadyExistsError) else refusal
        return outcomes

    def _tell(self, outcomes: Mapping[str, Outcome]) -> None:
        asked, self._asked = self._asked, {}
        for name, outcome in asked.items():
            if not outcome.done():
                outcome.set_result(outcomes.get(name))
