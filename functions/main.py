"""The functions on functions-framework, as Cloud Run functions, Knative and OpenFaaS run it: one target for each flow.

    functions-framework --source functions/main.py --target outbound

Nobody may call before MQBRIDGE_HTTP_AUTH says who: without it, this does not start, nor with an MQBRIDGE_METRICS that is none.
"""

from typing import Any

import functions.inbound.app
import functions.outbound.app
import functions.outbound.status
import functions.outflow.app
from mqbridge.http_access import check_access
from mqbridge.http_entry import http_function
from mqbridge.telemetry import writes_metrics


def inbound(request: Any) -> Any:
    """RocketMQ -> MQTT by data inbound rules; takes a flask.Request."""
    return http_function(functions.inbound.app.handler, request)


def outbound(request: Any) -> Any:
    """MQTT -> RocketMQ by data outbound rules; takes a flask.Request."""
    return http_function(functions.outbound.app.handler, request)


def status(request: Any) -> Any:
    """Client presence -> RocketMQ by client status notification rules; takes a flask.Request."""
    return http_function(functions.outbound.status.handler, request)


def outflow(request: Any) -> Any:
    """MQTT -> filter -> transform -> RocketMQ by message outflow tasks; takes a flask.Request."""
    return http_function(functions.outflow.app.handler, request)


check_access()
writes_metrics()
