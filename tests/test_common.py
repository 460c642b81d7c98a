"""scikit-learn's own checks, on default and non-default configurations."""

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import (
    check_param_validation,
    parametrize_with_checks,
)

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.experts import AutoPool, LinearExpert, MLPExpert
from skmoe.gates import ClassifierGate, GaussianGate, MLPGate
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.model_selection._search import MixtureCV
from skmoe.routers import SwitchRouter
from skmoe.trainers import EM, Gradient, TwoStage

# Where training takes long and is not what is checked.
BRIEF = EM(max_iter=3)
FEW_FOLDS = TwoStage(cv=2)

CONFIGURATIONS = [
    MoERegressorCV(MoERegressor(trainer=BRIEF), n_experts=2, cv=2),
    MoERegressor(),
    MoERegressor("additive", 2, gate="additive", trainer=BRIEF),
    MoEClassifier("additive", 2, gate="additive", trainer=BRIEF),
    MoERegressor(
        [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))],
        trainer=FEW_FOLDS,
    ),
    MoEClassifier(),
    MoEClassifier(n_experts=2, n_members=2, trainer=BRIEF),
    HierarchicalMoERegressor(),
    HierarchicalMoEClassifier(branching=(2,), trainer=BRIEF),
    MoERegressor(
        MLPExpert((8,)),
        n_experts=2,
        gate=MLPGate((4,)),
        router=SwitchRouter(),
        trainer=Gradient(max_epochs=20),
    ),
]
# For ``--thorough``: each takes long, or is much like one above.
OTHERS = [
    MoERegressor(n_experts=2, likelihood="heteroscedastic", trainer=BRIEF),
    MoERegressor(n_experts=2, gate="constant", noise=True, trainer=BRIEF),
    MoERegressor(n_experts=2, shared_expert=Ridge(), trainer=BRIEF),
    MoEClassifier(n_experts=3, router=2, trainer=BRIEF),
    MoEClassifierCV(MoEClassifier(trainer=BRIEF), n_experts=2, criterion="icl"),
    MoERegressor(LinearExpert(l1_ratio=0.5), n_experts=2, trainer=BRIEF),
    MoERegressor(
        n_experts=2, gate=ClassifierGate(LogisticRegression(tol=1e-9)), trainer=BRIEF
    ),
    MoERegressor(n_experts=2, trainer="hard-em"),
    MoEClassifier(LinearExpert(alpha=1.0), n_experts=2, trainer=FEW_FOLDS),
    MoEClassifier(AutoPool(include=["linear", "neighbours"]), trainer=FEW_FOLDS),
    MoEClassifier(
        [
            ("loose", LogisticRegression(tol=1e-9)),
            ("stiff", LogisticRegression(C=0.01, tol=1e-9)),
        ],
        trainer=BRIEF,
    ),
    MoERegressor(n_experts=2, gate=GaussianGate(alpha=2.0), trainer=BRIEF),
    HierarchicalMoERegressor(branching=(2, 1), trainer=Gradient(max_epochs=60)),
    HierarchicalMoEClassifier(
        branching="grow", max_leaf_nodes=2, criterion="bic", trainer=BRIEF
    ),
    MoEClassifier(MLPExpert((8,)), n_experts=2, trainer=Gradient(max_epochs=60)),
]


def expected_failures(estimator):
    """Batches and folds are drawn by row: a row of weight two is not two rows there."""
    if isinstance(estimator, MixtureCV):
        return {}
    drawn = isinstance(estimator.trainer, (Gradient, TwoStage))
    if not drawn and estimator.shared_expert is None:
        return {}
    why = "batches and folds of repeated rows differ from those of weighted ones"
    return {
        "check_sample_weight_equivalence_on_dense_data": why,
        "check_sample_weight_equivalence_on_sparse_data": why,
    }


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(CONFIGURATIONS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check, pytestconfig):
    # Of sparse matrices and arrays either will do.
    is_twin = check.func.__name__ == "check_estimator_sparse_matrix"
    if is_twin and not pytestconfig.getoption("--thorough"):
        pytest.skip("for --thorough")
    check(estimator)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(OTHERS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks_of_others(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [MoERegressor(), MoEClassifier()])
def test_parameter_validation(estimator):
    check_param_validation(type(estimator).__name__, estimator)
