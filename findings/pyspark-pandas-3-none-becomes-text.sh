#!/usr/bin/env bash
# pyspark 4.1.1 with pandas 3.1.1: createDataFrame turns a None in a column of strings into the text "nan", unless
# spark.sql.execution.arrow.pyspark.enabled is true. pandas 3 reads strings into a type of its own in which a missing one is
# NaN, and pyspark writes that float into a column of StringType as text. With pandas 2.3.3 the column has the type object,
# and the None stays.
# Seen:
#   pandas 2.3.3, Arrow off: ['a', None]
#   pandas 3.1.1, Arrow off: ['a', 'nan']
#   pandas 3.1.1, Arrow on:  ['a', None]
# Needs python3 and java. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyspark==4.1.1 pyarrow==26.0.1
cat >try.py <<'PY'
import sys

import pandas as pd
from pyspark.sql import SparkSession

arrow = sys.argv[1]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.execution.arrow.pyspark.enabled", arrow)
    .getOrCreate()
)
frame = spark.createDataFrame(pd.DataFrame({"title": ["a", None]}), "title string")
found = [row.title for row in frame.collect()]
print(f"pandas {pd.__version__}, Arrow {'on' if arrow == 'true' else 'off'}:", found)
spark.stop()
PY
try() { SPARK_LOCAL_IP=127.0.0.1 timeout 180 venv/bin/python try.py "$1" 2>error.log | tee -a seen; }
venv/bin/pip install --quiet --disable-pip-version-check pandas==2.3.3
try false
venv/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1
try false
try true
diff - seen >/dev/null <<'SEEN' || {
pandas 2.3.3, Arrow off: ['a', None]
pandas 3.1.1, Arrow off: ['a', 'nan']
pandas 3.1.1, Arrow on: ['a', None]
SEEN
    echo "It has changed, or did not run; the last lines of the last program:" >&2
    tail -n 5 error.log >&2
    exit 1
}
