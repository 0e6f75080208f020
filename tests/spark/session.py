"""A real Apache Spark with Delta's own reader, as small as it goes. ``make test-spark`` brings what it needs.

Spark fetches Delta and S3 support from Maven Central by their coordinates into ``.tools/spark``; only Amazon's one
half-gigabyte bundle is replaced by the two parts of it that are used.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from infra.object_store import S3Server

FOLDER = Path(__file__).resolve().parents[2] / ".tools" / "spark"
DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
HADOOP = "3.5.0"  # that of the jars inside pyspark
AWS = "2.35.4"  # that which this Hadoop is built with
PACKAGES = (
    DELTA,
    f"org.apache.hadoop:hadoop-aws:{HADOOP}",
    f"software.amazon.awssdk:s3:{AWS}",
    f"software.amazon.awssdk:s3-transfer-manager:{AWS}",
)


def missing() -> str | None:
    """Why Spark can't run here, and what to type; None if it can."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark isn't installed: make test-spark"
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        return "there is no Java: install a JDK 17 or 21 (Debian: openjdk-17-jre-headless), then: make test-spark"
    if not any((FOLDER / "jars").glob("io.delta_delta-spark*")):
        return "Delta's jars aren't here: make test-spark"
    return None


def start(s3: S3Server) -> Any:
    """One core, one gigabyte; time zone UTC; S3 is ``s3``."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.jars.ivy": str(FOLDER),
        "spark.jars.packages": ",".join(PACKAGES),
        "spark.jars.excludes": "software.amazon.awssdk:bundle",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.warehouse.dir": str(FOLDER / "warehouse"),
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": s3.endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": s3.options["AWS_REGION"],
        "spark.hadoop.fs.s3a.access.key": s3.options["AWS_ACCESS_KEY_ID"],
        "spark.hadoop.fs.s3a.secret.key": s3.options["AWS_SECRET_ACCESS_KEY"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    }
    builder = SparkSession.builder.master("local[1]").appName("rireki-tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
