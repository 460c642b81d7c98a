"""Names of experts: those that they get, and those that they may have."""


def default_names(experts):
    """Lower-case class names, numbered where they repeat, as ``make_pipeline`` does."""
    # Classes, which fit refuses, have names, too.
    kinds = [own if isinstance(own, type) else type(own) for own in experts]
    names = [kind.__name__.lower() for kind in kinds]
    counts = {name: names.count(name) for name in names}
    seen = dict.fromkeys(names, 0)
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
    return unique


def check_names(names, parameters, owner):
    """Refuse names that repeat, equal a parameter, or contain ``__``."""
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ValueError(
            f"{owner} got experts with the same name {twice}; give each its own."
        )
    for name in names:
        if not isinstance(name, str) or "__" in name or name in parameters:
            raise ValueError(
                f"{owner} got an expert named {name!r}; names must be strings "
                "without '__' that are no parameter of the mixture."
            )
