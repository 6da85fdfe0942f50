// What is asked of the theory: sums over a spectrum, the name of a regime, the mean's path.

const LAST_DECADE = 7;

/** The arguments of every lowered function, k first. */
function at(set, k, rho) {
    const epoch = theory.step.updates_per_epoch(k, rho, set.eta, set.beta, set.S, set.lamda, set.N, 0);
    return [k, rho, set.eta, set.beta, set.S, set.lamda, set.N, epoch];
}

/** The stationary functions that the settings choose. */
function stationary(set) {
    return theory[`${set.theory}_${set.theory === "continuous" ? "with_replacement" : set.sampler}`];
}

function inEpochs(set) {
    return set.theory === "discrete" && set.sampler !== "with_replacement";
}

function isStable(set, rho) {
    return theory.step.share_of_limit(...at(set, 0, rho)) < 1;
}

/** Why there is no stationary state, or an empty text. */
function obstacle(set, spectrum) {
    // Of a density it is the end, which is steeper than the last of its directions.
    const steepest = spectrum.largest ?? Math.max(...spectrum.map(({ rho }) => rho));
    if (!isStable(set, steepest)) {
        const most = theory.step.largest_rate(...at(set, 0, steepest));
        return `No stationary state: the direction ρ = ${short(steepest)} is unstable. Lower η below ${short(most)}.`;
    }
    if (inEpochs(set) && at(set, 0, steepest)[7] < 2) {
        return "An epoch of fewer than two batches has no noise. Raise N, or lower S.";
    }
    return "";
}

/** Names as `Predictor.regime` has them, from the signs of what is lowered. */
function regime(set, rho) {
    const [[discriminant, rounding, sum, product, least]] = theory[set.theory].signs(...at(set, 0, rho));
    if (set.theory === "discrete" && discriminant >= -rounding && (sum < 0 || product < -least)) {
        return "alternating";
    }
    if (Math.abs(discriminant) <= rounding) return "critical";
    return discriminant > 0 ? "overdamped" : "underdamped";
}

/** Updates for the slowest root's envelope to fall by 1/e. */
function relaxation(set, rho) {
    const [[slow, fast, envelope]] = theory[set.theory].decays(...at(set, 0, rho));
    const [[discriminant]] = theory[set.theory].signs(...at(set, 0, rho));
    const decay = discriminant >= 0 ? Math.min(slow, fast) : envelope;
    return decay > 0 ? 1 / decay : Infinity;
}

/** h Var θ. */
function temperature(set, rho) {
    const [[position]] = stationary(set).covariance(...at(set, 0, rho));
    return theory.picture.temperature(rho, set.lamda, position);
}

function total(spectrum, value) {
    return spectrum.reduce((sum, { rho, weight }) => sum + weight * value(rho), 0);
}

function displacement(set, spectrum, k) {
    return total(spectrum, (rho) => stationary(set).displacement(...at(set, k, rho)));
}

/** Displacement after k updates, and the exponent over [k, k + 2], which belongs to k + 1. */
function growth(set, spectrum, k) {
    let level = 0;
    let gained = 0;
    for (const { rho, weight } of spectrum) {
        const [[here, more]] = stationary(set).growth(...at(set, k, rho));
        level += weight * here;
        gained += weight * more;
    }
    return { k, level, exponent: theory.picture.local_exponent(level, gained, k, k + 2) };
}

/** The exponent at k as `Predictor.exponent` has it, whose first interval is [1, 2]. */
function exponent(set, spectrum, k) {
    if (k > 1) return growth(set, spectrum, k - 1).exponent;
    const [first, second] = [1, 2].map((step) => displacement(set, spectrum, step));
    return theory.picture.local_exponent(first, second - first, 1, 2);
}

/** Different whole numbers at about equal ratios from 1 to 10^decades. */
function counts(number, decades) {
    const all = Array.from({ length: number }, (_, i) => Math.round(10 ** ((decades * i) / (number - 1))));
    return [...new Set(all)];
}

/** Where the mean goes from an offset at rest, until it has relaxed: counts, and [θ, v] after each. */
function meanPath(set, rho, offset) {
    const scale = relaxation(set, rho);
    const last = Number.isFinite(scale) ? Math.min(6 * scale, 10 ** LAST_DECADE) : 40;
    const spaced = Array.from({ length: 241 }, (_, i) => (last * i) / 240);
    // A fast root settles long before the slow one.
    spaced.push(...counts(80, Math.log10(Math.max(last, 10))));
    // Updates are whole; time is not.
    const steps = set.theory === "discrete" ? spaced.map(Math.ceil) : spaced;
    return [...new Set(steps)]
        .sort((a, b) => a - b)
        .map((k) => ({ k, state: theory[set.theory].mean(...at(set, k, rho), offset, 0).flat() }))
        .filter(({ state }) => state.every(Number.isFinite));
}
