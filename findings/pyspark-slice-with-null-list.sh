#!/usr/bin/env bash
# pyspark 4.1.1 with pyarrow 26.0.1: createDataFrame takes an Arrow table whose column of lists has a null, and refuses a
# slice of the same table that does not begin at its first row, with an error of pyarrow's that names no column. Slices
# come from Table.slice, and from to_batches and readers that cut a table into parts. pyspark puts the lists together anew
# for the time zones of what is in them (pandas/types.py, _check_arrow_array_timestamps_localize), also where no times are.
# Made anew from the slice's own rows (Table.from_pylist), the same rows are taken.
# Seen:
#   whole: 4 rows
#   slice: ArrowNotImplementedError: Null bitmap with offsets slice not supported.
#   slice made anew: 2 rows
# Needs python3 and java. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyspark==4.1.1 pyarrow==26.0.1 pandas==2.3.3
cat >try.py <<'PY'
import sys

import pyarrow as pa
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("OFF")
whole = pa.table({"genres": [["Drama"], None, ["Crime"], None]})
cut = whole.slice(2)
seen = []
for name, table in (
    ("whole", whole),
    ("slice", cut),
    ("slice made anew", pa.Table.from_pylist(cut.to_pylist(), cut.schema)),
):
    try:
        said = f"{spark.createDataFrame(table).count()} rows"
    except pa.ArrowException as error:
        said = f"{type(error).__name__}: {error}"
    seen.append(said)
    print(f"{name}: {said}")
refused = "ArrowNotImplementedError: Null bitmap with offsets slice not supported."
sys.exit(seen != ["4 rows", refused, "2 rows"])
PY
timeout 300 venv/bin/python try.py
