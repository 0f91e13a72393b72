"""Plain Parquet files: how they are written, found again and counted, without a table format around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchscore.errors import WriteError
from batchscore.tables.locations import exists, hadoop_conf, list_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The first committer moves a task's files in one step and marks a whole job, so a dead job leaves nothing that counts.
_OPTIONS = {
    "mapreduce.fileoutputcommitter.algorithm.version": "1",
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "true",
    "parquet.page.write-checksum.enabled": "true",
}
SUCCESS = "_SUCCESS"


def write_files(
    spark: SparkSession, rows: DataFrame, location: str, partition_by: Sequence[str], folder_prefix: str = ""
) -> list[str]:
    """Write rows under a path of their own, in one Spark job that is whole or does not count.

    Args:
        spark: The session.
        rows: The rows.
        location: A path that no other job writes to.
        partition_by: Columns that become folders.
        folder_prefix: Put before a column's name in its folders' names; such columns stay in the files too.

    Returns:
        The data files that were committed, relative to the path.

    Raises:
        WriteError: The job left no mark of success.
    """
    if folder_prefix:
        rows = rows.withColumns({folder_prefix + name: rows[name] for name in partition_by})
    folders = [folder_prefix + name for name in partition_by]
    rows.write.mode("append").options(**_OPTIONS).partitionBy(*folders).parquet(location)
    if not exists(spark, f"{location}/{SUCCESS}"):
        raise WriteError(
            f"{location}: expected {SUCCESS} after the write; found none. Run again; nothing was published."
        )
    return find_files(spark, location)


def find_files(spark: SparkSession, location: str) -> list[str]:
    """Data files under a path as readers see them, relative to it; empty where nothing stands there."""
    found = []
    for name in sorted(list_names(spark, location) or []):
        if "=" in name:
            found += [f"{name}/{inner}" for inner in find_files(spark, f"{location}/{name}")]
        elif not name.startswith(("_", ".")):
            found.append(name)
    return found


def count_rows(spark: SparkSession, file: str) -> int:
    """Rows of one file, from its footer."""
    jvm: Any = spark._jvm
    conf = hadoop_conf(spark)
    source = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(jvm.org.apache.hadoop.fs.Path(file), conf)
    reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
    try:
        return int(reader.getRecordCount())
    finally:
        reader.close()


def partition_folder(spark: SparkSession, column: str, value: str) -> str:
    """The folder that Spark and Hive give a partition value, such as `day=2013-10-01` or `at=04%3A00`."""
    jvm: Any = spark._jvm
    return str(jvm.org.apache.spark.sql.catalyst.catalog.ExternalCatalogUtils.getPartitionPathString(column, value))
