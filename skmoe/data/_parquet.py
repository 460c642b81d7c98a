"""Rows of parquet files."""

from pathlib import Path

import numpy as np

from ._source import BATCH_ROWS, RowSource, given_size


def reader():
    """pyarrow, with what reads parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "RowSource.from_parquet needs pyarrow; pip install skmoe[data]."
        ) from error
    return pyarrow


def data_frames():
    """What makes data frames, of text, or of columns that are chosen by name."""
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise ImportError(
            "A RowSource needs pandas for columns of text, and for columns that are "
            "chosen; pip install skmoe[data]."
        ) from error
    return DataFrame


class ParquetRows(RowSource):
    """Rows of a parquet file, or of all files of a folder in order of their names."""

    def __init__(
        self,
        path,
        target,
        columns=None,
        weight=None,
        *,
        offset=None,
        trials=None,
        groups=None,
    ):
        self._arrow, self.weight, self.files = reader(), weight, files_at(path)
        self.groups, self.has_groups = groups, groups is not None
        own = given_size("RowSource.from_parquet", offset, trials)
        self.size_name, self.size = own
        self.targets = [target] if isinstance(target, str) else list(target or ())
        self.has_target = bool(self.targets)
        self.one_target = isinstance(target, str)
        schema = self._arrow.parquet.read_schema(self.files[0])
        left_out = {*self.targets, *self._besides, *self._labelled}
        if columns is None:
            columns = [name for name in schema.names if name not in left_out]
        self.names, self.text = list(columns), None
        for file in self.files:
            self._check(file, self._arrow.parquet.read_schema(file))
        self._frame = data_frames() if self.text else None

    @property
    def _besides(self):
        """Columns of weights and sizes."""
        return [own for own in (self.weight, self.size) if own is not None]

    @property
    def _labelled(self):
        """The column of groups, which may hold text."""
        return [] if self.groups is None else [self.groups]

    def _check(self, file, schema):
        """Raise ``ValueError`` unless a file has all columns, of numbers or text."""
        own = self._besides
        missing = [
            name
            for name in [*self.names, *self.targets, *own, *self._labelled]
            if name not in schema.names
        ]
        if missing or not self.names:
            raise ValueError(
                f"{file} has the columns {schema.names}, but expected {missing or 'X'} "
                "among them; name those that it has."
            )
        for name in [*self.names, *own, *self._labelled]:
            kind, text = schema.field(name).type, name not in own
            if not self._is_number(kind) and not (text and self._is_text(kind)):
                raise ValueError(
                    f"Column {name!r} of {file} holds {kind}, but expected numbers"
                    f"{' or text' if text else ''}; leave it out of columns=, or write "
                    "it as numbers."
                )
        text = [n for n in self.names if self._is_text(schema.field(n).type)]
        self.text = text if self.text is None else self.text
        if text != self.text:
            raise ValueError(
                f"{file} has text in {text}, but {self.files[0]} in {self.text}; write "
                "the same types to each file."
            )

    def _is_number(self, kind):
        types = self._arrow.types
        known = types.is_integer, types.is_floating, types.is_boolean
        return any(is_one(kind) for is_one in known)

    def _is_text(self, kind):
        types = self._arrow.types
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_string(kind) or types.is_large_string(kind)

    def batches(self):
        """Iterator of batches, one file after the other."""
        besides = *self._besides, *self._labelled
        asked = list(dict.fromkeys([*self.names, *self.targets, *besides]))
        for path in self.files:
            # Read-ahead would hold many times the memory of a batch.
            file = self._arrow.parquet.ParquetFile(
                path, memory_map=True, pre_buffer=False, read_dictionary=self.text
            )
            with file:
                for batch in file.iter_batches(BATCH_ROWS, columns=asked):
                    yield self._arrays(batch)

    def _arrays(self, batch):
        X = self._columns(batch)
        targets = [self._labels(batch.column(name)) for name in self.targets]
        y = None
        if self.has_target:
            y = targets[0] if self.one_target else np.column_stack(targets)
        weight = None if self.weight is None else _numbers(batch.column(self.weight))
        own = (X, y, weight)
        if self.size is not None:
            own = *own, _numbers(batch.column(self.size))
        labels = [self._labels(batch.column(name)) for name in self._labelled]
        return *own, *labels

    def _columns(self, batch):
        """The columns as an array, or as a frame where some are text."""
        if not self.text:
            return _matrix([_numbers(batch.column(name)) for name in self.names])
        columns = {
            name: batch.column(name).to_pandas()
            if name in self.text
            else _numbers(batch.column(name))
            for name in self.names
        }
        return self._frame(columns)

    def _labels(self, column):
        """The target as an array, of text where it is text."""
        types = self._arrow.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if types.is_string(column.type) or types.is_large_string(column.type):
            # Few different words: one Python string for each, not for each row.
            words = column.dictionary_encode()
            if column.null_count:
                return column.to_numpy(zero_copy_only=False)
            known = np.array(words.dictionary.to_pylist(), dtype=str)
            return known[words.indices.to_numpy(zero_copy_only=False)]
        return column.to_numpy(zero_copy_only=False)


def files_at(path):
    """The file, or the parquet files of a folder in order of their names."""
    path = Path(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ValueError(
            f"RowSource.from_parquet found no file at {str(path)!r}; give that of a "
            "parquet file, or of a folder of files that end in .parquet."
        )
    return files


def _numbers(column):
    """A column as floats, of 32 bits where they are; nulls are NaN."""
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype == object:
        # Truth values with nulls among them.
        values = np.array([np.nan if own is None else own for own in values])
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _matrix(columns):
    """Columns as the rows of one array."""
    X = np.empty((len(columns[0]), len(columns)), dtype=np.result_type(*columns))
    for place, own in enumerate(columns):
        X[:, place] = own
    return X
