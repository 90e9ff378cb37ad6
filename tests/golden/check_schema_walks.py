#!/usr/bin/env python3
"""Judges by the jsonschema library what random walks through our token masks wrote.

    AWQ_SCHEMA_WALKS=walks.jsonl unit_grammar --gtest_filter=JsonSchema.RandomWalks*
    check_schema_walks.py walks.jsonl

Needs jsonschema 4 (pip) with its format checker; not part of the test run, which has no such library.
"""
import json
import sys
from collections import Counter

import jsonschema

counts, bad = Counter(), 0
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    counts[json.dumps(row["schema"])] += 1
    validator = jsonschema.Draft202012Validator(row["schema"], format_checker=jsonschema.FormatChecker())
    try:
        errors = [error.message for error in validator.iter_errors(json.loads(row["text"]))]
    except ValueError as error:
        errors = [str(error)]
    for message in errors:
        bad += 1
        print(f"{row['text']}\n  {message}")
for schema, count in counts.items():
    print(f"{count:5} texts of {schema[:100]}")
sys.exit(1 if bad or not counts else 0)
