"""The code in README and user guide runs, block after block."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from skmoe.inference import relabel

ROOT = Path(__file__).parent.parent
NAMES = (
    "install",
    "user_guide",
    "inference",
    "own_parts",
    "cluster",
    "production",
    "onnx",
    "faq",
    "challenges",
)
PAGES = ["README.md"] + [f"docs/{name}.md" for name in NAMES]
# Blocks that import them run where they are installed.
OPTIONAL = ("skops", "mlflow", "onnxruntime")
# Pages that have tests of their own.
OF_THEIR_OWN = ["docs/from_r.md", "docs/formulas.md", "docs/questions.md"]
# Its links, or some of them, lead to pages that the build of the site writes.
OF_THE_SITE = ["docs/index.md"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", [*PAGES, *OF_THE_SITE])
def test_code_of_page_runs(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    if "import dask" in text:
        pytest.importorskip("distributed")
    if "import polars" in text:
        pytest.importorskip("polars")
    if "import onnxruntime" in text:
        pytest.importorskip("skl2onnx")
        monkeypatch.chdir(tmp_path)
    names_after(page, text)


def test_figures_and_output_of_the_readme_are_those_of_their_script(monkeypatch):
    folder = ROOT / "benchmarks"
    if not folder.exists():
        pytest.skip("not a source tree")
    monkeypatch.syspath_prepend(str(folder))
    from readme import named, readme

    text = (ROOT / "README.md").read_text()
    assert text == readme(text)
    ratios = named(text)
    assert len(ratios) == 6
    for name, said, ratio in ratios:
        assert said == pytest.approx(ratio, abs=0.0051), name


def names_after(page, text):
    """What the blocks of a page define, one after another."""
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        if any(f"import {own}" in block and not find_spec(own) for own in OPTIONAL):
            continue
        exec(compile(block, page, "exec"), names)
    return names


# Fits of R, the name of ours on the page, and how far log-likelihoods are apart:
# flexmix divides squares by rows less coefficients.
OF_R = [
    ("flexmix_pair", "pair", 0.006),
    ("mixtools_pair", "pair", 1e-5),
    ("mixtools_equal", "equal", 1e-5),
    ("flexmix_gated", "gated", 0.006),
    ("flexmix_counts", "counts", 1e-5),
    ("mixtools_counts", "counts", 1e-5),
    ("flexmix_panel", "panel", 0.006),
]


def test_page_for_users_of_r_has_their_numbers():
    page = "docs/from_r.md"
    text = (ROOT / page).read_text()
    answers = json.loads((ROOT / "tests/known_answers/from_r.json").read_text())
    names = names_after(page, text)
    shown = text.replace("−", "-")
    for theirs, ours, apart in OF_R:
        model = relabel(names[ours], by="intercept")
        found = np.array([(e.intercept_, e.coef_[0]) for e in model.experts_])
        wanted = np.array(answers[theirs]["parameters"])[:, :2]
        np.testing.assert_allclose(found, wanted, atol=2e-4, err_msg=theirs)
        (level,) = answers[theirs]["log_likelihood"]
        assert 0 <= model.log_likelihood_ - level + 1e-5 < apart + 2e-5, theirs
        for number in (level, model.log_likelihood_, *wanted.ravel()):
            assert f"{number:.3f}" in shown, (theirs, number)
    wanted, zeros = answers["flexmix_zeros"], names["zeros"]
    expert, share = zeros.experts_[0], zeros.gate_proba(names["d"][["x"]])[0, -1]
    found = [expert.intercept_, expert.coef_[0], share, zeros.log_likelihood_]
    wanted = [*wanted["parameters"][0], wanted["share"][0], *wanted["log_likelihood"]]
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert all(f"{number:.3f}" in shown for number in wanted)
    own = names["gated"], names["d"][["x", "w"]], names["d"]["y"]
    gate = names["summary"](relabel(own[0]), *own[1:]).found.estimate[:2]
    (wanted,) = answers["flexmix_gate"]["parameters"]
    np.testing.assert_allclose(-gate, wanted, atol=1e-3)
    own = names["table"].found
    wanted = np.array(answers["flexmix_errors"]["errors"])
    order = np.argsort(own.estimate[[1, 3]])
    np.testing.assert_allclose(own.error[1:].reshape(2, 2)[order], wanted[:, 2:], 1e-3)
    for number in wanted[:, 2:].ravel():
        assert f"{number:.3f}" in shown


def test_formulas_code_new_rows_as_the_old():
    pytest.importorskip("formulaic", reason="no formulas without formulaic")
    page = "docs/formulas.md"
    names = names_after(page, (ROOT / page).read_text())
    d, sales, model = names["d"], names["sales"], names["model"]
    # Neither levels nor knots of these rows are those of all.
    few = d[d["shop"] == "mall"].head(4)
    found = model.predict(few)
    np.testing.assert_allclose(found, model.predict(d)[few.index], rtol=1e-12)
    terms = names["Formula"](model.expert_features.formula).fit(d)
    place = list(terms.get_feature_names_out()).index("log(price)")
    slopes = sorted(own.coef_[place] for own in model.experts_)
    np.testing.assert_allclose(slopes, [-2, -0.4], atol=0.15)
    assert "log(price):promo[T.yes]" in str(names["table"])
    one = names["MoERegressor"](names["LinearExpert"](alpha=0), 1)
    one.set_params(expert_features=names["Formula"]("C(shop, contr.sum) * promo"))
    columns = names["model_matrix"]("C(shop, contr.sum) * promo", d)
    coef = np.linalg.lstsq(columns, sales)[0]
    expert = one.fit(d, sales).experts_[0]
    np.testing.assert_allclose(np.r_[expert.intercept_, expert.coef_], coef, atol=1e-8)


NUMBER = r"-?\d+\.?\d*"


def test_answers_to_questions_are_what_their_code_prints(capsys):
    page = "docs/questions.md"
    text, names = (ROOT / page).read_text(), {}
    assert text.count("\n### ") == text.count("```text") == 16
    for block, shown in re.findall(
        r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text, flags=re.DOTALL
    ):
        exec(compile(block, page, "exec"), names)
        printed = capsys.readouterr().out
        words, wanted = (re.sub(rf"{NUMBER}| ", "", own) for own in (printed, shown))
        assert words == wanted
        found, wanted = (
            [float(number) for number in re.findall(NUMBER, own)]
            for own in (printed, shown)
        )
        # The last digit shown may fall otherwise elsewhere.
        np.testing.assert_allclose(found, wanted, rtol=0.02, atol=0.11)


def test_links_lead_somewhere():
    others = ["architecture", "choose", "glossary", "measurements"]
    for page in [*PAGES, *OF_THEIR_OWN, *(f"docs/{name}.md" for name in others)]:
        path = ROOT / page
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{page}: {target}"
