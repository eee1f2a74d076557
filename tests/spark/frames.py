"""Comparing DataFrames.

pyspark's own assertDataFrameEqual imports pandas-on-Spark wherever pandas is installed, and that
of Spark 4.1 does not import with pandas 3.
"""

import pytest
from pyspark.sql import DataFrame


def assert_same_rows(
    actual_df: DataFrame,
    expected_df: DataFrame,
    *,
    ordered: bool = False,
    tolerance: float = 0.0,
) -> None:
    """Assert that two DataFrames have the same columns and types, and the same rows.

    Args:
        actual_df: what the code under test made.
        expected_df: what it should have made.
        ordered: whether the order of rows counts.
        tolerance: the most by which two floating-point numbers may differ.
    """
    actual_types, expected_types = (
        [(c, t) for c, t in df.dtypes] for df in (actual_df, expected_df)
    )
    assert actual_types == expected_types
    actual, expected = ([tuple(row) for row in df.collect()] for df in (actual_df, expected_df))
    if not ordered:
        actual, expected = sorted(actual, key=repr), sorted(expected, key=repr)
    assert len(actual) == len(expected)
    for actual_row, expected_row in zip(actual, expected, strict=True):
        assert actual_row == tuple(
            pytest.approx(value, rel=0, abs=tolerance) if isinstance(value, float) else value
            for value in expected_row
        )
