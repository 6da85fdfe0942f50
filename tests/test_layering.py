"""The shape of the package, read from its source: imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sgdtheory as sgd

PACKAGE = Path(sgd.__file__).parent
VALIDATION = PACKAGE.parent / "validation"

# Each chapter may import only from those above it. A new chapter belongs into this list.
CHAPTERS = (
    "symbols",
    "derivation",
    "remembered",
    "arrays",
    "notebook_display",
    "sweeps",
    "named_results",
    "number_checks",
    "user_input",
    "normal_form",
    "rational_matrices",
    "special_functions",
    "gaussian_process",
    "stability",
    "update_rule",
    "fluctuation_dissipation",
    "noise",
    "sampling",
    "linear_recursion",
    "stroboscopic",
    "epoch_recursion",
    "reshuffled_epochs",
    "repeated_epochs",
    "discrete_time",
    "langevin",
    "order_reduction",
    "modified_equations",
    "backward_error_analysis",
    "van_loan",
    "ornstein_uhlenbeck_process",
    "diffusion",
    "agreement",
    "flat_direction",
    "correlated_directions",
    "entropy_production",
    "probability_flow",
    "displacement",
    "crossovers",
    "time_scales",
    "profile_likelihood",
    "lowering",
    "anomalous_diffusion",
    "successive_increments",
    "recursion_likelihood",
    "scaling",
    "chebyshev_blocks",
    "compression",
    "spectra",
    "spectrum",
    "landscape",
    "hyperparameters",
    "second_moments",
    "transient_moments",
    "mean_square_stability",
    "krylov_space",
    "gaussian_inputs",
    "finite_dataset",
    "ensembles",
    "dense_predictor",
    "direction_results",
    "evaluation",
    "predicted_moments",
    "predicted_displacement",
    "predicted_tables",
    "predictor",
    "torch",
    "fits",
    "equivalent_settings",
    "elasticities",
    "calibration",
    "array_files",
    "spectrum_files",
    "advice",
    "plotting",
    "explorer",
    "testing",
    "hypothesis_entry_point",
    "__init__",
    # Commands go in by the front door, as their users do.
    "commands",
    "__main__",
)
# Likewise inside the chapters that are folders.
LOWERING = (
    "propagation",
    "scalar_modes",
    "batches",
    "jets",
    "operations",
    "cancellations",
    "joined_exponents",
    "removable_quotients",
    "rewriting",
    "printer",
    "restricted_python",
    "translated_expressions",
    "translation",
    "c_backend",
    "javascript_backend",
    "numpy_backend",
    "compilation_cache",
    "numba_disk_cache",
    "machine_code",
    "numba_compiler",
    "numba_backend",
    "torch_modes",
    "torch_backend",
    "functions",
    "addition_chains",
    "responses",
    "array_totals",
    "numba_totals",
    "totals",
    "__init__",
)
ENSEMBLES = (
    "counter_based_generator",
    "plan",
    "run",
    "numba_batches",
    "torch_batches",
    "numba_ensemble",
    "torch_ensemble",
    "ensemble",
    "linear_regression",
    "quadratic",
    "__init__",
)
SPECTRA = (
    "negative_tails",
    "weighted_directions",
    "gathered_chunks",
    "lanczos_process",
    "lanczos_quadrature",
    "measured_directions",
    "double_exponential",
    "density_panels",
    "spectral_density",
    "named_densities",
    "__init__",
)
TORCH = (
    "optimizer_settings",
    "loader_settings",
    "run_settings",
    "undisturbed_model",
    "loss_hessian",
    "gradient_noise",
    "measurement",
    "analysis",
    "__init__",
)
FITS = (
    "displacement_curves",
    "displacement_covariance",
    "log_displacement",
    "slope_estimates",
    "self_similar_lines",
    "exponent_fits",
    "power_law_tail",
    "tail_likelihood",
    "tail_search",
    "tail_fits",
    "__init__",
)
ADVICE = (
    "few_directions",
    "advised_run",
    "self_driven_noise",
    "stability_margin",
    "stationary_summary",
    "direction_ranges",
    "run_forecast",
    "strained_assumptions",
    "batch_doubling",
    "__init__",
)
PLOTTING = (
    "canvas",
    "crossover_marks",
    "density_levels",
    "measured_points",
    "compared_models",
    "counted_eigenvalues",
    "growth_curves",
    "planes",
    "phase_portrait",
    "loss_profile",
    "regime_grid",
    "regime_map",
    "swept_quantities",
    "hyperparameter_panels",
    "run_at_a_glance",
    "__init__",
)
EXPLORER = ("functions", "page", "__init__")
TESTING = (
    "stable_limit",
    "run",
    "law",
    "laws_of_motion",
    "laws_of_scale",
    "laws_of_landscapes",
    "laws_of_back_ends",
    "laws_of_flows",
    "by_hand",
    "laws_of_rules",
    "strategies",
    "shapes",
    "checks",
    "simulation",
    "__init__",
)
COMMANDS = (
    "letters",
    "typed_expressions",
    "step_counts",
    "tables",
    "settings",
    "pictures",
    "code_files",
    "derived_results",
    "formulas",
    "predicted_tables",
    "advising",
    "deriving",
    "exploring",
    "predicting",
    "__init__",
)
FOLDERS = {
    "commands": COMMANDS,
    "advice": ADVICE,
    "spectra": SPECTRA,
    "lowering": LOWERING,
    "ensembles": ENSEMBLES,
    "fits": FITS,
    "plotting": PLOTTING,
    "explorer": EXPLORER,
    "testing": TESTING,
    "torch": TORCH,
}
ORDER = [
    module
    for chapter in CHAPTERS
    for module in (
        [f"{chapter}.{part}" for part in FOLDERS[chapter]] if chapter in FOLDERS else [chapter]
    )
]
SYMBOL_MAKERS = {"Symbol", "symbols", "MatrixSymbol"}
# The same for what checks the theory. Its folders are one entry each.
VALIDATION_CHAPTERS = (
    "named_functions",
    "durable_files",
    "pages",
    "experiments",
    "staged_experiments",
    "feature_files",
    "data",
    "samplers",
    "residual_network",
    "curvature",
    "linear_problem",
    "directions",
    "models",
    "losses",
    "convention",
    "displacement_kernel",
    "projections",
    "recorder",
    "record_layout",
    "record_store",
    "generator_states",
    "checkpoints",
    "run_folder",
    "run_list",
    "torch_training",
    "torch_runs",
    "trajectories",
    "estimators",
    "forward_mode",
    "single_examples",
    "network_curvature",
    "lanczos",
    "example_gradients",
    "example_curvatures",
    "noise_induced_force",
    "linearized_training",
    "loss_slice",
    "measured_curvature",
    "recorded_noise",
    "preparation",
    "estimator_coverage",
    "ensemble_averages",
    "recorded_averages",
    "ensemble_runs",
    "ensemble_store",
    "stability_search",
    "stability_store",
    "engines",
    "sweeps",
    "coverage",
    "calibration_coverage",
    "comparison",
    "curves",
    "linear",
    "past_convergence",
    "referee",
    "published",
    "pictures",
    "report",
    "benchmarks",
    "fuzzing",
    "mutation",
    "release",
    "__main__",
    "__init__",
)
# Here theory may be looked at: where it is compared, and where its simulators are the engine.
MEETS_THEORY = {
    "ensemble_runs",
    "ensemble_store",
    "stability_search",
    "stability_store",
    "engines",
    *VALIDATION_CHAPTERS[VALIDATION_CHAPTERS.index("coverage") :],
}


def module_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def as_module(dotted):
    """The file behind a dotted name of the package; the package itself is its __init__."""
    inside = dotted.removeprefix("sgdtheory").removeprefix(".")
    if inside in FILES:
        return inside
    return f"{inside}.__init__" if inside else "__init__"


def imports_of(module):
    """Modules of the package that a file imports, inside its functions too."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["sgdtheory", *module.split(".")[: -node.level]]
                base = ".".join([*above, *filter(None, [base])])
            names = [
                f"{base}.{alias.name}" if as_module(f"{base}.{alias.name}") in FILES else base
                for alias in node.names
            ]
        else:
            names = []
        yield from (as_module(n) for n in names if n.split(".")[0] == "sgdtheory")


def test_every_module_has_its_place_in_the_order():
    assert set(FILES) == set(ORDER)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module):
    later = {other for other in imports_of(module) if ORDER.index(other) >= ORDER.index(module)}
    assert not later, f"{module} imports from below: {later}"


def test_the_reader_of_imports_sees_those_inside_functions(tmp_path, monkeypatch):
    source = (
        "def f():\n    from sgdtheory.predictor import Predictor\n    import sgdtheory.symbols\n"
    )
    (tmp_path / "probe.py").write_text(source)
    monkeypatch.setitem(FILES, "probe", tmp_path / "probe.py")
    assert set(imports_of("probe")) == {"predictor", "symbols"}


def test_lowering_knows_no_physics():
    inside = [module for module in FILES if module.startswith("lowering.")]
    outside = {o for m in inside for o in imports_of(m) if not o.startswith("lowering.")}
    assert outside == {"arrays", "special_functions", "symbols"}


@pytest.mark.parametrize("module", [module for module in FILES if module != "symbols"])
def test_only_symbols_makes_a_symbol(module):
    tree = ast.parse(FILES[module].read_text())
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sympy")
        for alias in node.names
        if alias.name in SYMBOL_MAKERS
    }
    makers = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in aliases)
            or (isinstance(node.func, ast.Attribute) and node.func.attr in SYMBOL_MAKERS)
        )
    ]
    assert not makers


def chapter_of_validation(path):
    return path.relative_to(VALIDATION).with_suffix("").parts[0]


def imports_of_validation(path):
    """First two parts of every name that a file of the validation imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "validation":
            names = [f"validation.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [node.module]
        else:
            names = []
        yield from (name.split(".")[:2] for name in names)


VALIDATION_FILES = sorted(VALIDATION.rglob("*.py"))


def test_every_module_of_the_validation_has_its_place_in_the_order():
    assert {chapter_of_validation(path) for path in VALIDATION_FILES} == set(VALIDATION_CHAPTERS)


@pytest.mark.parametrize("path", VALIDATION_FILES, ids=lambda p: str(p.relative_to(VALIDATION)))
def test_imports_of_the_validation_point_one_way(path):
    own = VALIDATION_CHAPTERS.index(chapter_of_validation(path))
    later = {
        name[1]
        for name in imports_of_validation(path)
        if name[0] == "validation" and VALIDATION_CHAPTERS.index(name[1]) > own
    }
    assert not later, f"{path} imports from below: {later}"


@pytest.mark.parametrize(
    "path",
    [path for path in VALIDATION_FILES if chapter_of_validation(path) not in MEETS_THEORY],
    ids=lambda path: str(path.relative_to(VALIDATION)),
)
def test_measurement_never_borrows_from_theory(path):
    borrowed = {
        ".".join(name)
        for name in imports_of_validation(path)
        if name[0] == "sgdtheory" or (name[0] == "validation" and name[1] in MEETS_THEORY)
    }
    assert not borrowed


def test_no_module_shares_its_name_with_a_public_function_or_class():
    public = {name for name in sgd.__all__ if not isinstance(getattr(sgd, name), ModuleType)}
    assert not public & {part for module in FILES for part in module.split(".")}


def test_every_public_name_exists():
    assert all(hasattr(sgd, name) for name in sgd.__all__)
    assert dir(sgd) == sgd.__all__ == [*sorted(sgd.__all__)]
    with pytest.raises(AttributeError, match="no attribute 'Predictro'"):
        sgd.Predictro  # noqa: B018


def test_importing_the_package_loads_no_optional_library():
    code = "import sys, sgdtheory; print({'torch', 'numba', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
