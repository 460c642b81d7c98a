"""One of the pool's experts as a model of its own."""


def expert_alone(pool, name, classify):
    """The expert with this name."""
    names, experts = pool.members(classify)
    return experts[names.index(name)]
