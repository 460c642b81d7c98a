"""The door of the kernels: compiled code does not look where an index points."""


def in_range(indices, n):
    """Whether all ``indices`` are integers that number ``n`` things, or -1 for none."""
    if indices.dtype.kind not in "iu":
        return False
    return not indices.size or bool(indices.min() >= -1 and indices.max() < n)


def check_range(indices, n, what):
    """Raise ``ValueError`` unless ``indices`` number ``n`` things, or are -1."""
    if not in_range(indices, n):
        raise ValueError(
            f"Got {indices.dtype} numbers of {what} from {indices.min()} to "
            f"{indices.max()}, but expected integers from -1, for none, to {n - 1}."
        )
