"""Theory against real training, small enough for every test run, with a stated false-alarm rate."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import sgdtheory as sgd
from validation import linear, report
from validation.comparison import family_limit, prepare, stationary_noise, verdicts
from validation.curvature import geometry
from validation.linear import Effort, Subject, linear_subjects
from validation.trajectories import Settings

EFFORT = Effort(replicas=48, segments=2, updates=128, transient_replicas=64)


@pytest.fixture(scope="module")
def experiment():
    diabetes = linear_subjects()[0]
    subject = Subject(diabetes.problem, diabetes.settings, {"batch_size": (24,)})
    return linear.run(subject, EFFORT, seed=1)


def test_stationary_noise_is_that_of_the_examples_where_the_run_spreads():
    """White noise of this covariance spreads over positions where gradients vary just so."""
    settings = Settings(0.1, 0.9, 64, 0.01)
    problem = linear_subjects()[0].problem
    # Two outputs, so that each is seen to get the noise of its own residuals.
    problem = dataclasses.replace(
        problem, targets=np.hstack([problem.targets, problem.features[:, :1] ** 2])
    )
    shape = geometry(problem, settings.weight_decay)
    eta, beta, size = settings.learning_rate, settings.momentum, len(shape.eigenvalues)
    h = np.diag(shape.eigenvalues + settings.weight_decay)
    eye = np.eye(size)
    update = np.block([[eye - eta * h, eta * beta * eye], [-h, beta * eye]])
    kick = np.vstack([-eta * eye, -eye])
    hyper = sgd.Hyperparameters(eta, beta, settings.batch_size, settings.weight_decay)
    for output, noise in enumerate(stationary_noise(problem, shape, hyper)):
        whole = solve_discrete_lyapunov(update, kick @ noise @ kick.T / settings.batch_size)
        root = np.linalg.cholesky(whole[:size, :size])
        averaged = np.zeros((size, size))
        # Positions ± each column of a square root of the spread average any quadratic form.
        for column in root.T:
            for sign in (1, -1):
                weights = shape.minimum[:, output] + sign * np.sqrt(size) * shape.vectors @ column
                errors = problem.features @ weights - problem.targets[:, output]
                gradients = problem.features @ shape.vectors * errors[:, None]
                averaged += np.cov(gradients.T, bias=True) / (2 * size)
        np.testing.assert_allclose(noise, averaged, rtol=1e-9, atol=1e-12)


def test_a_learning_rate_at_which_the_noise_drives_itself_is_refused():
    with pytest.raises(sgd.UnstableError, match="the noise that grows with the distance"):
        prepare(linear_subjects()[0].problem, Settings(0.5, 0.9, 1, 0.01))


def test_discrete_theory_holds_for_every_observable(experiment):
    # One false alarm in a hundred seeds; the seed is fixed, so the outcome is too.
    found = verdicts(experiment.rows)
    assert len(found) == 8
    assert [v.observable for v in found if not v.holds("discrete")] == []


def test_continuous_theory_parts_where_steps_are_not_small(experiment):
    parts = {v.observable for v in verdicts(experiment.rows) if not v.holds("continuous")}
    assert {"global displacement", "exponent"} <= parts


def test_a_wrong_noise_scale_is_noticed(experiment):
    rows = [r for r in experiment.rows if r.observable == "velocity variance"]
    for row in rows:
        shifted = (row.measured - 1.25 * row.discrete) / row.standard_error
        assert abs(shifted) > abs(row.z_discrete)
    assert max(abs((r.measured - 1.25 * r.discrete) / r.standard_error) for r in rows) > (
        family_limit(len(rows))
    )


def test_noise_is_reported_as_not_proportional_to_the_hessian(experiment):
    assert 0.1 < experiment.noise_shape.distance < 0.3
    assert 0.05 < experiment.multiplicative_share < 0.2


def test_family_limit_has_the_stated_rate():
    generator = np.random.default_rng(0)
    largest = np.abs(generator.normal(size=(20_000, 50))).max(axis=1)
    # 200 expected of 20,000; five standard deviations are 70.
    assert 130 < (largest > family_limit(50)).sum() < 270


def test_planned_updates_are_those_that_are_done():
    diabetes = linear_subjects()[0]
    subject = Subject(diabetes.problem, diabetes.settings, {"momentum": (0.5,)})
    effort = Effort(replicas=2, segments=1, updates=16, transient_replicas=2)
    done = []
    linear.run(subject, effort, progress=done.append)
    assert sum(done) == linear.planned_updates([subject], effort)


def test_report_is_one_page_without_network(experiment, tmp_path):
    path = report.write([experiment], EFFORT, 1, tmp_path)
    page = path.read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert page.count("<math") > 15
    assert page.count("data:image/png;base64,") == 5
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert rows == [dataclasses.asdict(row) for row in experiment.rows]
    csv_lines = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    assert len(csv_lines) == len(rows) + 1
    for picture in tmp_path.glob("*.png"):
        assert picture.stat().st_size < 300_000
