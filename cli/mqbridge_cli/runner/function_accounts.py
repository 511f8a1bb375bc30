"""What a runner knows of records that a function carries out: what is settled, and what came back. The function knows the rest.

The accounts are kept as telemetry's: what is handed to the function is received and planned, and has an outcome as soon as it answers.
"""

from mqbridge.telemetry import Counters

__all__ = ["INVOKING", "IN_FUNCTION", "begin_rule_elsewhere", "count_errors", "count_handed_over", "count_unknown"]

# Stages of errors: what happened to a request, and what the function said of a record.
INVOKING, IN_FUNCTION = "invoking", "function"
_TRIGGER = "cloudevents_batch"


def begin_rule_elsewhere(counters: Counters, flow: str, rule: str) -> None:
    """Have the series of a rule exist from the start, at 0."""
    count_handed_over(counters, flow, rule, settled=0, failed=0)
    counters.add("mqbridge_records_in_flight", 0, flow=flow, rule=rule)
    count_unknown(counters, flow, rule, 0)
    counters.observe("mqbridge_event_duration_seconds", (), function=flow)
    counters.observe("mqbridge_batch_events", (), function=flow)


def count_handed_over(
    counters: Counters, flow: str, rule: str, *, settled: int, failed: int, duration_s: float = 0.0
) -> None:
    """Enter a request, and what of it is settled and what is to come again, or can never be delivered."""
    records = settled + failed
    function, of_rule = (("function", flow),), (("flow", flow), ("rule", rule))
    counters.add_all(
        {
            ("mqbridge_events_received_total", (*function, ("trigger", _TRIGGER))): records,
            ("mqbridge_events_planned_total", function): records,
            ("mqbridge_records_planned_total", of_rule): records,
            ("mqbridge_records_total", (*of_rule, ("outcome", "settled"))): settled,
            ("mqbridge_records_total", (*of_rule, ("outcome", "failed"))): failed,
        }
    )
    if records:
        counters.observe("mqbridge_batch_events", (records,), function=flow)
        counters.observe("mqbridge_event_duration_seconds", (duration_s,), times=records, function=flow)


def count_errors(counters: Counters, rule: str, stage: str, error_type: str, records: int = 1) -> None:
    """Enter why records failed."""
    counters.add("mqbridge_errors_total", records, rule=rule, stage=stage, error_type=error_type)


def count_unknown(counters: Counters, flow: str, rule: str, records: int) -> None:
    """Enter records that the function may have carried out, as it never answered."""
    counters.add("mqbridge_unknown_outcome_total", records, rule=rule, sink=f"lambda:{flow}")
