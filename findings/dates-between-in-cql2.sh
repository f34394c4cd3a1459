#!/usr/bin/env bash
# A STAC item of 1 June, 10:20:30: does it lie BETWEEN 1 June and 2 June for cql2?
#
# Guess before running: yes, as cql2 compares instants (12:20:30+02:00 is the same for it) and has BETWEEN right for
# numbers.
#
# Seen: with TIMESTAMP or DATE, BETWEEN is false and NOT BETWEEN true, in text and in JSON, whatever the dates; IN is
# false as well. So a filter by BETWEEN selects nothing, and one by NOT BETWEEN, meant to leave a summer out, leaves out
# nothing. >= AND <=, and BETWEEN of plain strings, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'cql2==0.6.0'
cat > "$work/expected" <<'TEXT'
True: datetime = TIMESTAMP('2021-06-01T12:20:30+02:00')
True: datetime >= TIMESTAMP('2021-06-01T00:00:00Z') AND datetime <= TIMESTAMP('2021-06-02T00:00:00Z')
False: datetime BETWEEN TIMESTAMP('2021-06-01T00:00:00Z') AND TIMESTAMP('2021-06-02T00:00:00Z')
True: datetime NOT BETWEEN TIMESTAMP('2021-06-01T00:00:00Z') AND TIMESTAMP('2021-06-02T00:00:00Z')
False: datetime BETWEEN DATE('2021-05-01') AND DATE('2021-07-01')
False: datetime IN (TIMESTAMP('2021-06-01T10:20:30Z'))
True: datetime BETWEEN '2021-06-01T00:00:00Z' AND '2021-06-02T00:00:00Z'
True: cloud BETWEEN 5 AND 20
False: between in JSON
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import json

import cql2

item = {"type": "Feature", "id": "a", "geometry": {"type": "Point", "coordinates": [9, 60]},
        "properties": {"datetime": "2021-06-01T10:20:30Z", "cloud": 10}}
begin, end = "TIMESTAMP('2021-06-01T00:00:00Z')", "TIMESTAMP('2021-06-02T00:00:00Z')"
for question in ("datetime = TIMESTAMP('2021-06-01T12:20:30+02:00')",
                 f"datetime >= {begin} AND datetime <= {end}",
                 f"datetime BETWEEN {begin} AND {end}",
                 f"datetime NOT BETWEEN {begin} AND {end}",
                 "datetime BETWEEN DATE('2021-05-01') AND DATE('2021-07-01')",
                 "datetime IN (TIMESTAMP('2021-06-01T10:20:30Z'))",
                 "datetime BETWEEN '2021-06-01T00:00:00Z' AND '2021-06-02T00:00:00Z'",
                 "cloud BETWEEN 5 AND 20"):
    print(f"{cql2.parse_text(question).matches(item)}: {question}")
asked = {"op": "between", "args": [{"property": "datetime"}, {"timestamp": "2021-06-01T00:00:00Z"},
                                   {"timestamp": "2021-06-02T00:00:00Z"}]}
print(f"{cql2.parse_json(json.dumps(asked)).matches(item)}: between in JSON")
PYTHON
diff expected seen
echo "as written: dates-between-in-cql2"
