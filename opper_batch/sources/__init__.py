"""Tables in: files, SQL and frames as batches of rows, strictly read and always the same.

open_source -> FileSource     CsvFormat, JsonLinesFormat, ParquetFormat, IpcFormat; folders' key=value columns
               SpooledSource  SQL, streams: asked once, kept in a temporary Arrow file
               TableSource    tables in memory
               FirstRows      a limit around any of them
"""

from opper_batch.sources.contract import Checked, Signature, Source, missing_column_error
from opper_batch.sources.opening import open_source

__all__ = ["Checked", "Signature", "Source", "missing_column_error", "open_source"]
