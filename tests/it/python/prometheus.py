"""Reads an exposition from standard input as Prometheus' own client does; `done` if nothing is wrong with it."""

import sys

from prometheus_client.parser import text_string_to_metric_families

names, samples = set(), set()
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, family.name
    assert family.name not in names, f"{family.name} twice"
    names.add(family.name)
    assert family.samples, family.name
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in samples, key
        samples.add(key)
        assert sample.name.startswith(("myriad_", "process_")), sample
        if family.type == "counter":
            assert sample.name.endswith("_total") and sample.value >= 0, sample
buckets = [s for f in [0] for s in samples if s[0] == "myriad_delivery_latency_seconds_bucket"]
assert len(names) > 100 and buckets, len(names)
print(f"{len(names)} families")
print("done")
