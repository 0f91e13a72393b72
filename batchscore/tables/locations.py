"""Locations: what a table's name means, and what stands there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batchscore.errors import InputError, WriteError
from batchscore.failures import refuse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def is_path(table: str) -> bool:
    """Whether a table's name is a path (it has a slash) and not a catalog name."""
    return "/" in table


def qualify(spark: SparkSession, path: str) -> str:
    """A path with its scheme where it lies on another file system than this machine's, by Hadoop's `fs.defaultFS`."""
    root: str = hadoop_conf(spark).get("fs.defaultFS") or "file:///"
    if not path.startswith("/") or root.startswith("file:"):
        return path
    return root.rstrip("/") + path


def find_location(spark: SparkSession, table: str) -> str:
    """The path of a Delta table: itself, or where the catalog says that it lies.

    Args:
        spark: The session.
        table: An absolute path or URI, or a catalog name such as `sales.orders`.

    Raises:
        InputError: The catalog has no such table.
    """
    if is_path(table):
        return table
    quoted = ".".join(f"`{part.replace('`', '``')}`" for part in table.split("."))
    try:
        detail = spark.sql(f"DESCRIBE DETAIL {quoted}").select("location").collect()
    except Exception as error:
        raise InputError(
            f"table {table}: expected a Delta table of this name in the catalog; found none. "
            "Check the name, or give a path with a '/'."
        ) from error
    return str(detail[0]["location"])


def list_names(spark: SparkSession, location: str) -> list[str] | None:
    """Names directly under a path, or None where nothing stands there."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    files = path.getFileSystem(hadoop_conf(spark))
    if not files.exists(path):
        return None
    return [status.getPath().getName() for status in files.listStatus(path)]


def find_missing(spark: SparkSession, uris: Iterable[str]) -> Iterator[str]:
    """Those of a frame's input files that are not there; Spark names some as URIs, escaped, and some as they are."""
    jvm: Any = spark._jvm
    conf = hadoop_conf(spark)
    for uri in uris:
        forms = [jvm.org.apache.hadoop.fs.Path(uri)]
        if "%" in uri:
            forms.append(jvm.org.apache.hadoop.fs.Path(unquote(uri)))
        if not any(path.getFileSystem(conf).exists(path) for path in forms):
            yield uri


def hadoop_conf(spark: SparkSession) -> Any:
    """The JVM's Hadoop configuration of this session."""
    session: Any = spark._jsparkSession
    return session.sessionState().newHadoopConf()


def read_file(spark: SparkSession, location: str) -> bytes | None:
    """The bytes of one small file, or None where it does not exist."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    files = path.getFileSystem(hadoop_conf(spark))
    if not files.exists(path):
        return None
    stream = files.open(path)
    try:
        return bytes(jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
    finally:
        stream.close()


def write_file(spark: SparkSession, location: str, content: bytes) -> None:
    """Write one small file whole, replacing what stands there.

    Raises:
        WriteError: The store did not take it.
    """
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    try:
        stream = path.getFileSystem(hadoop_conf(spark)).create(path, True)
        try:
            stream.write(content)
        finally:
            stream.close()
    except Exception as error:
        raise refuse(location, error) from error


def write_local(file: Path, text: str) -> None:
    """Write a text file of this machine whole or not at all, with the folders above it.

    Raises:
        OSError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def create_file(spark: SparkSession, location: str, content: bytes) -> bool:
    """Write one small file unless one stands there; False where one does, whoever wrote it."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    files = path.getFileSystem(hadoop_conf(spark))
    try:
        stream = files.create(path, False)
    except Exception:
        if files.exists(path):
            return False
        raise
    try:
        stream.write(content)
    finally:
        stream.close()
    return True


def exists(spark: SparkSession, location: str) -> bool:
    """Whether a file or a folder stands at a path."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    return bool(path.getFileSystem(hadoop_conf(spark)).exists(path))


def may_write(spark: SparkSession, location: str) -> bool:
    """Whether a store says that this user may write to a path, or to the nearest folder above it that exists.

    Object stores often know no rights of paths, and say yes.
    """
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    files = path.getFileSystem(hadoop_conf(spark))
    while path.getParent() is not None and not files.exists(path):
        path = path.getParent()
    try:
        files.access(path, jvm.org.apache.hadoop.fs.permission.FsAction.WRITE)
    except Exception as error:
        if "AccessControlException" in str(error):
            return False
        raise
    return True


def move(spark: SparkSession, source: str, target: str) -> None:
    """Rename a file or a folder to a path where nothing stands.

    Raises:
        WriteError: The store did not do it.
    """
    jvm: Any = spark._jvm
    old, new = jvm.org.apache.hadoop.fs.Path(source), jvm.org.apache.hadoop.fs.Path(target)
    files = old.getFileSystem(hadoop_conf(spark))
    files.mkdirs(new.getParent())
    if not files.rename(old, new):
        raise WriteError(f"{target}: expected to rename {source} to it; the store refused. Check its permissions.")


def remove_folder(spark: SparkSession, location: str) -> None:
    """Remove a folder and what is in it, where it exists."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    path.getFileSystem(hadoop_conf(spark)).delete(path, True)


def modified_s(spark: SparkSession, location: str) -> float:
    """When a path was last modified, in seconds since 1970 UTC."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    status = path.getFileSystem(hadoop_conf(spark)).getFileStatus(path)
    return float(status.getModificationTime()) / 1000
