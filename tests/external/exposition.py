"""Parses a page from standard input and prints its samples as JSON lines.

The format is the first argument: `text` for Prometheus' text format, `openmetrics` for OpenMetrics, which is checked strictly.
"""

import json
import sys

from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

parsers = {
    "text": text_string_to_metric_families,
    "openmetrics": openmetrics_parser.text_string_to_metric_families,
}

for family in parsers[sys.argv[1]](sys.stdin.read()):
    for sample in family.samples:
        exemplar = sample.exemplar and [sample.exemplar.labels, sample.exemplar.value]
        print(
            json.dumps(
                [family.type, family.documentation, sample.name, sample.labels, repr(float(sample.value)), exemplar]
            )
        )
