"""A mixture as notebooks draw it: gate, router, and the experts that are left."""

from sklearn.pipeline import Pipeline

from .._sklearn import VisualBlock
from ..experts._base import CorrectedExpert, called, is_frozen, traits
from ..experts._noise import NOISE, ZERO
from ..routers import DenseRouter, TopKRouter
from ..routers._base import is_count
from .fitted import members_of
from .parts import AUTO, BOUND, SHARED, asked_of, resolve_gate

# Experts that have boxes of their own; of more, and of pools, one box tells of all.
MOST_DRAWN = 8
# Experts that this box names, and letters that it has for each.
MOST_SHOWN, MOST_LETTERS = 50, 100
# Experts of which is said what they serve without opening the box.
MOST_SAID = 4
# What is said of a mixture whose gate says the same of every row.
CONSTANT_GATE = "the gate is constant: predictions are linear stacking"
# Components that stand for no expert, in words.
WITHOUT_EXPERT = {NOISE: "noise", ZERO: "zeros"}


def counted(count, noun):
    """A number of things in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def experts_in_words(model):
    """How many experts a fitted mixture has, and what stands beside them."""
    n_bare = sum(traits(own).is_bare for own in model.experts_)
    said = counted(model.n_experts_ - n_bare, "expert")
    if not n_bare:
        return said
    ((name, _),) = asked_of(model).bare
    return f"{said} and {WITHOUT_EXPERT[name]}"


def shown_names(model):
    """What the experts of a fitted mixture are called wherever people read it."""
    return [called(name, expert) for name, expert in model.named_experts_.items()]


def kind_name(expert):
    """Class of a fitted expert, as the user knows it."""
    expert = _within(expert)
    return type(expert[-1] if isinstance(expert, Pipeline) else expert).__name__


def _within(expert):
    """An expert without its corrections."""
    while isinstance(expert, CorrectedExpert) or is_frozen(expert):
        expert = expert.estimator
    return expert


def only_stacks(model):
    """Whether the gate of a fitted mixture says the same of every row."""
    n_bare = sum(traits(own).is_bare for own in model.experts_)
    if model.n_experts_ - n_bare < 2 or not model.router_.gated:
        return False
    return all(
        own._learned.constant_gate or own.gate_.is_constant()
        for own in members_of(model)
    )


def left_out(model):
    """Members of a pool that were left out in words, together by their reasons."""
    found = {}
    for own in vars(model).get("expert_pool_", ()):
        if own.dropped:
            found.setdefault(own.dropped, []).append(own.name)
    return [
        f"{', '.join(names)} ({'each ' if len(names) > 1 else ''}{reason})"
        for reason, names in found.items()
    ]


def few_of(model):
    """How many experts a fit kept where there might be more; None where it did not."""
    choice = None if model._learned is None else model._learned.choice
    if model.n_experts != AUTO or choice is None:
        return None
    # Members of an average have about the same number.
    n_left = members_of(model)[0].n_experts_ - asked_of(model).n_bare
    return n_left if n_left < BOUND else None


def block_of(model):
    """The ``VisualBlock`` of a mixture."""
    asked = asked_of(model, few_of(model))
    is_fitted = model._learned is not None
    named = dict(model.named_experts_ if is_fitted else asked.by_name)
    shared = named.pop(SHARED, None)
    if is_fitted:
        shared = model.shared_expert_
    loads = model.expert_load_ if is_fitted else [None] * len(named)
    labels = shown_names(model) if is_fitted else list(named)
    labels = dict(zip(named, labels, strict=True))
    parts = {"gate": _gate(model, asked, is_fitted), "router": _router(model)}
    shares = {name: _percent(own) for name, own in zip(named, loads, strict=True)}
    if len(named) > MOST_DRAWN or asked.pool is not None:
        experts = _one_box(model, named, shares, labels)
    else:
        beside = {own: labels[own].removeprefix(own).strip() for own in named}
        said = {own: _listed(beside[own], shares[own]) for own in named}
        names = _with_few(model, [_joined(own, said[own]) for own in named])
        experts = VisualBlock("parallel", [*map(_drawn, named.values())], names=names)
    parts |= {None: experts, "shared expert": shared}
    drawn = {name: own for name, own in parts.items() if own is not None}
    blocks = [
        own if name is None else VisualBlock("serial", [own], dash_wrapped=False)
        for name, own in drawn.items()
    ]
    names = [*drawn]
    if is_fitted and only_stacks(model):
        names[0] = "gate: constant, linear stacking"
    return VisualBlock("serial", blocks, names=names)


def _drawn(expert):
    """An expert, or the name of a class, which fit refuses."""
    return expert.__name__ if isinstance(expert, type) else expert


def _gate(model, asked, is_fitted):
    """The gate, of trees that of the root, of averages that of the first member."""
    if is_fitted:
        return members_of(model)[0].gate_.nodes()[0]
    return resolve_gate(asked.gate, asked.owner)


def _router(model):
    """The router as the user gave it, or None where all experts answer."""
    router = model.router
    if is_count(router):
        return TopKRouter(int(router))
    return None if isinstance(router, DenseRouter) else router


def _percent(load):
    return "" if load is None else f"{load:.0%}"


def _joined(name, load):
    """A name, before which scikit-learn looks for that of a parameter."""
    return f"{name}: {load}" if load else name


def _listed(*words):
    return ", ".join(filter(None, words))


def _with_few(model, names):
    """Names of experts, with how many there might have been."""
    few = few_of(model)
    if few is not None:
        names[0] += f" ({few} of at most {BOUND} experts)"
    return names


def _one_box(model, named, shares, labels):
    """All experts as text in one box, those that serve most rows first."""
    loads = dict(zip(named, vars(model).get("expert_load_", ()), strict=False))
    order = sorted(named, key=lambda name: -loads.get(name, 0.0))
    shown = order[:MOST_SHOWN]
    lines = [_line(labels[name], shares[name], named[name]) for name in shown]
    if len(order) > MOST_SHOWN:
        lines.append(f"and {len(order) - MOST_SHOWN} more")
    lines += [f"left out: {own}" for own in left_out(model)]
    lost = [own for own in vars(model).get("expert_pool_", ()) if own.dropped]
    said = [_joined(labels[name], shares[name]) for name in order[:MOST_SAID]]
    said += [f"{len(order) - len(said)} more"] if len(order) > len(said) else []
    title = counted(len(order), "expert")
    if lost:
        title += f", {len(lost)} left out"
    options = {"names": title, "name_caption": ", ".join(said)}
    text = "\n".join(lines)
    return VisualBlock("single", text, name_details=text, **options)


def _line(name, load, expert):
    """What the box says of an expert."""
    text = " ".join(repr(_within(expert)).split())
    text = text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
    return "  ".join(filter(None, [_joined(name, load), text]))
