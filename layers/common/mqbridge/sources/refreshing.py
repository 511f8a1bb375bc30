"""Rules in force: loaded when first asked for, looked at again after a time, kept when what is there now is no good."""

import time
from collections.abc import Callable
from functools import partial

from mqbridge.rules import InvalidRules, Rules, RulesError, UnreadableRules, load
from mqbridge.telemetry import Counters, logger

from .places import place_of, ttl_s_of
from .reading import CannotRead, Reader, open_reader

__all__ = ["RefreshedRules"]

# A store that hangs costs the invocation that asks it some seconds: after a failure it is left alone at least so long.
RETRY_AFTER_S = 10.0


class RefreshedRules:
    """The rules of one place. For one thread at a time.

    Args:
        source: what MQBRIDGE_RULES says.
        ttl: what MQBRIDGE_RULES_TTL says, if it is set.
        counters: where reloads are counted.
        flow: the only flow that the rules are for, as `load` takes it.
        clock: Unix time, since a frozen function's other clock may stand still.
        opened: makes readers.

    Raises:
        UnreadableRules: `source` or `ttl` is written wrongly.
    """

    def __init__(
        self,
        source: str,
        ttl: str | None,
        counters: Counters,
        *,
        flow: str | None = None,
        clock: Callable[[], float] = time.time,
        opened: Callable[[], Reader] | None = None,
    ) -> None:
        place = place_of(source)
        self.source = source
        self._name = "(rules)" if source.lstrip().startswith("{") else source
        self._ttl_s = ttl_s_of(ttl, place)
        self._counters = counters
        self._clock = clock
        self._opened = opened or (lambda: open_reader(place, source, partial(load, flow=flow)))
        self._reader: Reader | None = None
        self._rules: Rules | None = None
        self._looked_at = self._look_at = 0.0
        self._complaint = ""

    def current(self) -> Rules:
        """Return the rules in force, after a look at the place if it is time for one. The same object until they change.

        Raises:
            UnreadableRules: there are none yet, and the place gives none.
            InvalidRules: there are none yet, and those of the place have faults.
        """
        if self._rules is None:
            self._rules = self._first()
            self._looked(self._ttl_s or 0.0)
        elif self._ttl_s is not None and self._is_due():
            self._looked(self._ttl_s if self._refresh() else max(self._ttl_s, RETRY_AFTER_S))
        return self._rules

    def _first(self) -> Rules:
        # A new reader for each attempt: one that has read what was refused would say that nothing has changed.
        try:
            reader = self._opened()
            rules = reader.read()
            if rules is None:
                raise CannotRead("it gave no document")
        except CannotRead as error:
            self._count("failed")
            raise UnreadableRules(self._name, str(error)) from None
        except RulesError:
            self._count("refused")
            raise
        self._reader = reader
        return rules

    def _refresh(self) -> bool:
        """Put in force what is there now; tell whether the place could be asked."""
        try:
            rules = self._reader.read() if self._reader is not None else None
        except CannotRead as error:
            self._kept("failed", "rules cannot be looked at; those from before stay in force", [str(error)])
            return False
        except RulesError as error:
            self._kept("refused", "changed rules are refused; those from before stay in force", _faults(error))
            return True
        except Exception as error:  # a defect that a document brings to light must not stop those that are in force
            what = "changed rules cannot be loaded; those from before stay in force"
            self._kept("refused", what, [type(error).__name__], is_defect=True)
            return True
        if rules is None:
            self._answers_again()
        elif self._rules is not None and rules.digest == self._rules.digest:
            self._complaint = ""
            logger().info("the source says again what is in force", extra={"source": self._name})
        else:
            self._complaint = ""
            self._rules = rules
            self._count("ok")
            logger().info("changed rules are in force", extra={"source": self._name, "digest": rules.digest})
        return True

    def _kept(self, outcome: str, what: str, faults: list[str], *, is_defect: bool = False) -> None:
        self._count(outcome)
        complaint = "\n".join((outcome, *faults))
        if complaint != self._complaint:  # said once, counted each time
            self._complaint = complaint
            logger().error(what, extra={"source": self._name, "faults": faults}, exc_info=is_defect)

    def _answers_again(self) -> None:
        """What was refused stays refused until it changes; what could not be asked is well now."""
        if self._complaint.startswith("failed"):
            self._complaint = ""
            logger().info("rules can be looked at again", extra={"source": self._name})

    def _is_due(self) -> bool:
        # A clock that was set back must not put the next look off.
        return not self._looked_at <= self._clock() < self._look_at

    def _looked(self, again_after_s: float) -> None:
        self._looked_at = self._clock()
        self._look_at = self._looked_at + again_after_s

    def _count(self, outcome: str) -> None:
        self._counters.add("mqbridge_config_reloads_total", outcome=outcome)


def _faults(error: RulesError) -> list[str]:
    if isinstance(error, InvalidRules):
        return [fault.text(error.name) for fault in error.faults]
    return [str(error)]
