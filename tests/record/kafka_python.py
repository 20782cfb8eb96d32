"""kafka-python's batches and codecs, the second opinion. Its import warns about its own age, and it has no types."""

import importlib
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    default_records: Any = importlib.import_module("kafka.record.default_records")
    codec: Any = importlib.import_module("kafka.codec")

DefaultRecordBatch = default_records.DefaultRecordBatch
DefaultRecordBatchBuilder = default_records.DefaultRecordBatchBuilder
