"""Parses a page in Prometheus' text format from standard input and prints its samples as JSON lines."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([family.type, family.documentation, sample.name, sample.labels, repr(float(sample.value))]))
