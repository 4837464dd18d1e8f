"""Tables in: files, SQL and frames as batches of rows, strictly read and always the same.

open_source -> FileSource     CsvFormat, JsonLinesFormat, ParquetFormat, IpcFormat; folders' key=value columns
               SpooledSource  SQL, streams: asked once, kept in a temporary Arrow file
               TableSource    tables in memory
               SinceRows      what is new, and FirstRows, a limit, around any of them
"""

from opper_batch.sources.contract import Checked, Signature, Source, missing_column_error
from opper_batch.sources.first_rows import FirstRows
from opper_batch.sources.opening import open_source
from opper_batch.sources.since import SinceRows

__all__ = ["Checked", "FirstRows", "Signature", "SinceRows", "Source", "missing_column_error", "open_source"]
