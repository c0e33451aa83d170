"""Takes OTLP over HTTP and gRPC, and prints what came and what is wrong with it.

The first line is `{"http": PORT, "grpc": PORT}`. Then there is one line of JSON for each request, printed before it is answered.
With the argument `partial`, all answers say that one item was rejected. It ends with its standard input.
"""

import gzip
import json
import math
import re
import sys
import zlib
from base64 import b64decode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Lock, Thread

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

PARTIAL = sys.argv[1:] == ["partial"]

SIGNALS = {
    "traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse, "rejected_spans"),
    "logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse, "rejected_data_points"),
}

# What must be set in whatever message has it. A start is not in it, because gauges need none.
REQUIRED = (
    *("resource_spans", "resource_logs", "resource_metrics", "scope_spans", "scope_logs", "scope_metrics"),
    *("spans", "log_records", "metrics", "data_points", "key", "name", "kind", "severity_number"),
    *("aggregation_temporality", "time_unix_nano", "observed_time_unix_nano", "end_time_unix_nano"),
)
# The bits of the flags that have a meaning.
FLAGS = {"Span": 0x3FF, "Link": 0x3FF, "LogRecord": 0xFF}
# W3C Trace Context, level 2.
TRACE_STATE = re.compile(r"([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
INSTRUMENT = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}")


# The rules: each yields pairs of whether something is wrong, and what that would be.


def any_message(message):
    kind, fields = message.DESCRIPTOR.name, message.DESCRIPTOR.fields_by_name
    unknown = sorted({field.field_number for field in UnknownFieldSet(message)})
    yield unknown, f"unknown fields {unknown}"
    for name in REQUIRED:
        if name in fields:
            yield not getattr(message, name), f"no {name}"
    yield kind == "KeyValue" and not message.HasField("value"), "no value"
    for oneof in message.DESCRIPTOR.oneofs:
        # Those of optional fields begin so. A data point's only flag says that it has no value.
        if not oneof.name.startswith("_") and not (kind == "NumberDataPoint" and message.flags):
            yield not message.WhichOneof(oneof.name), f"no {oneof.name}"
    for field, value in message.ListFields():
        yield field.name.endswith("_strindex"), f"{field.name} is only for profiles"
        if field.enum_type:
            yield value not in field.enum_type.values_by_number, f"{field.name} {value} is unknown"
        if field.message_type and field.message_type.name == "KeyValue":
            for key, times in Counter(pair.key for pair in value).items():
                yield times > 1, f"{times} {field.name} have the key {key!r}"
    if "flags" in fields:
        yield message.flags & ~FLAGS.get(kind, 1), f"flags {message.flags:#x}"
    if "trace_id" in fields and (kind in ("Span", "Link") or message.trace_id or message.span_id):
        # A sample's trace may be all that is known.
        spans = [] if kind == "Exemplar" and not message.span_id else [("span_id", 8)]
        for name, length in [("trace_id", 16), *spans]:
            value = getattr(message, name)
            yield len(value) != length or not any(value), f"{name} {value.hex()!r}"
    if "start_time_unix_nano" in fields:
        start, end = message.start_time_unix_nano, getattr(message, "end_time_unix_nano" if kind == "Span" else "time_unix_nano")
        yield start > end, f"the start {start} is after the end {end}"


def resource(message):
    names = [pair.value.string_value for pair in message.resource.attributes if pair.key == "service.name"]
    yield not any(names), "the resource has no service.name"


def request(message):
    spans = [one for resources in message.resource_spans for scope in resources.scope_spans for one in scope.spans]
    for (_, span_id), times in Counter((one.trace_id, one.span_id) for one in spans).items():
        yield times > 1, f"{times} spans are {span_id.hex()}"


def link(message):
    if message.trace_state:
        members = [TRACE_STATE.fullmatch(member) for member in message.trace_state.split(",")]
        keys = {member and member[1] for member in members}
        yield None in keys or len(keys) < len(members) or len(members) > 32, f"trace_state {message.trace_state!r}"
    yield message.flags & 0x300 == 0x200, f"flags {message.flags:#x} say remote, but not that this is known"


def span(message):
    yield from link(message)
    parent = message.parent_span_id
    yield parent and (len(parent) != 8 or not any(parent)), f"parent_span_id {parent.hex()!r}"
    yield parent and parent == message.span_id, "the span is its own parent"
    yield not message.start_time_unix_nano, "no start_time_unix_nano"
    yield message.status.message and message.status.code != 2, "the status has a message, but is not an error"


def scope_metrics(message):
    for name, times in Counter(one.name for one in message.metrics).items():
        yield times > 1, f"{times} metrics are {name!r}"


def metric(message):
    yield message.name and not INSTRUMENT.fullmatch(message.name), f"the name {message.name!r}"
    data = getattr(message, message.WhichOneof("data") or "gauge")
    if hasattr(data, "aggregation_temporality"):
        yield not all(point.start_time_unix_nano for point in data.data_points), "a data point has no start_time_unix_nano"
    if getattr(data, "is_monotonic", False):
        values = [getattr(point, point.WhichOneof("value") or "as_int") for point in data.data_points]
        yield not all(value >= 0 for value in values), "monotonic, but a value is negative"
    sets = [sorted(pair.SerializeToString(deterministic=True) for pair in point.attributes) for point in data.data_points]
    for times in Counter(map(tuple, sets)).values():
        yield times > 1, f"{times} data points have the same attributes"


def histogram(message):
    if message.DESCRIPTOR.name == "HistogramDataPoint":
        counts, bounds = message.bucket_counts, message.explicit_bounds
        yield (counts or bounds) and len(counts) != len(bounds) + 1, f"{len(counts)} buckets with {len(bounds)} bounds"
        yield not all(low < high for low, high in pairwise(bounds)), "the bounds do not increase"
        yield not all(map(math.isfinite, bounds)), "a bound is not finite"
    else:
        counts = [message.zero_count, *message.positive.bucket_counts, *message.negative.bucket_counts]
    yield counts and sum(counts) != message.count, f"the count is {message.count}, but the buckets have {sum(counts)}"
    yield not message.count and message.sum, "a sum, but no count"
    yield message.HasField("min") and message.HasField("max") and not message.min <= message.max, "min is above max"


RULES = {
    "ExportTraceServiceRequest": request,
    **dict.fromkeys(("ResourceSpans", "ResourceLogs", "ResourceMetrics"), resource),
    "Span": span,
    "Link": link,
    "ScopeMetrics": scope_metrics,
    "Metric": metric,
    "HistogramDataPoint": histogram,
    "ExponentialHistogramDataPoint": histogram,
}


def problems(message, path):
    """Yields what is wrong in a message and in all that are in it."""
    for rule in (any_message, RULES.get(message.DESCRIPTOR.name, lambda _: ())):
        yield from (f"{path}: {what}" for is_wrong, what in rule(message) if is_wrong)
    for field, value in message.ListFields():
        if isinstance(value, Message):
            yield from problems(value, f"{path}.{field.name}")
        elif field.message_type:
            for index, item in enumerate(value):
                yield from problems(item, f"{path}.{field.name}[{index}]")


def with_hex_ids(value):
    if isinstance(value, list):
        return [with_hex_ids(item) for item in value]
    if isinstance(value, dict):
        ids = ("trace_id", "span_id", "parent_span_id")
        return {key: b64decode(item).hex() if key in ids else with_hex_ids(item) for key, item in value.items()}
    return value


lock = Lock()


def show(line):
    with lock:
        print(json.dumps(line), flush=True)


def take(signal, transport, headers, data, refusal=None):
    """Prints a request, and returns the answer, which is `None` if the request is refused."""
    line = {"signal": signal, "transport": transport, "headers": headers, "request": None, "problems": [refusal]}
    answer = None
    if not refusal:
        request, response, rejected = SIGNALS[signal]
        partial = {"partial_success": {rejected: 1, "error_message": "on purpose"}} if PARTIAL else {}
        try:
            message = request.FromString(data)
            line["request"] = with_hex_ids(MessageToDict(message, preserving_proto_field_name=True))
            line["problems"] = list(problems(message, "request"))
            if message.ByteSize() != len(data):
                line["problems"].append(f"request: {len(data)} bytes where {message.ByteSize()} would do")
            answer = response(**partial).SerializeToString()
        except DecodeError as error:
            line["problems"] = [f"not a request: {error}"]
    show(line)
    return answer


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        data = self.rfile.read(int(headers.get("content-length", 0)))
        signal = self.path.removeprefix("/v1/")
        kind, encoding = headers.get("content-type"), headers.get("content-encoding")
        status, refusal = 400, None
        if signal not in SIGNALS or not self.path.startswith("/v1/"):
            status, refusal = 404, f"the path {self.path}"
        elif "content-length" not in headers:
            status, refusal = 411, "there is no content-length"
            self.close_connection = True
        elif kind != "application/x-protobuf":
            status, refusal = 415, f"content-type {kind}"
        elif encoding == "gzip":
            try:
                data = gzip.decompress(data)
            except (EOFError, OSError, zlib.error) as error:
                refusal = f"not gzip: {error}"
        elif encoding is not None:
            status, refusal = 415, f"content-encoding {encoding}"
        answer = take(signal, "http", headers, data, refusal)
        self.send_response(status if answer is None else 200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def log_message(self, *_):
        pass


def grpc_handler(signal):
    def export(data, context):
        headers = {name: value if isinstance(value, str) else value.hex() for name, value in context.invocation_metadata()}
        answer = take(signal, "grpc", headers, data)
        if answer is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a request")
        return answer

    package = SIGNALS[signal][0].DESCRIPTOR.file
    (service,) = package.services_by_name.values()
    return grpc.method_handlers_generic_handler(
        service.full_name, {"Export": grpc.unary_unary_rpc_method_handler(export)}
    )


http_server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
Thread(target=http_server.serve_forever, daemon=True).start()
grpc_server = grpc.server(ThreadPoolExecutor(4), list(map(grpc_handler, SIGNALS)))
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()
show({"http": http_server.server_port, "grpc": grpc_port})
sys.stdin.read()
grpc_server.stop(0)
