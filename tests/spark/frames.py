"""Making and comparing DataFrames.

pyspark's own assertDataFrameEqual imports pandas-on-Spark wherever pandas is installed, and that
of Spark 4.1 does not import with pandas 3.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructType


def frame_of(
    spark: SparkSession, rows: Sequence[tuple[Any, ...]], schema: StructType | str
) -> DataFrame:
    """Make a DataFrame of rows in two partitions, the first half of them in the first.

    By Arrow: from a list createDataFrame makes one by programs of Python, which cost each test
    more than what it tests. The session's times are of UTC, as the rows' are taken to be.
    """
    types = StructType.fromDDL(schema) if isinstance(schema, str) else schema
    half = len(rows) // 2
    # Each table becomes a partition. Spark takes no slice with a list that is null.
    tables = [_table_of(part, types) for part in (rows[:half], rows[half:]) if part or not rows]
    return spark.createDataFrame(pa.concat_tables(tables), types)


def _table_of(rows: Sequence[tuple[Any, ...]], types: StructType) -> pa.Table:
    return pa.table(
        {
            field.name: pa.array([row[index] for row in rows], to_arrow_type(field.dataType))
            for index, field in enumerate(types)
        }
    )


def assert_same_rows(
    actual_df: DataFrame,
    expected_df: DataFrame,
    *,
    ordered: bool = False,
) -> None:
    """Assert that two DataFrames have the same columns and types, and the same rows.

    Args:
        actual_df: what the code under test made.
        expected_df: what it should have made.
        ordered: whether the order of rows counts.
    """
    actual_types, expected_types = (
        [(c, t) for c, t in df.dtypes] for df in (actual_df, expected_df)
    )
    assert actual_types == expected_types
    actual, expected = ([tuple(row) for row in df.collect()] for df in (actual_df, expected_df))
    if not ordered:
        actual, expected = sorted(actual, key=repr), sorted(expected, key=repr)
    assert actual == expected
