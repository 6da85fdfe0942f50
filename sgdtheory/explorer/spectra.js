// Spectra as lists of directions: an eigenvalue, and the share of all directions that it stands for.

const DIRECTIONS = 40;
const MOST_CHARACTERS = 1e7;

/** Equal ratios between two ends, weighed by a density; its normalisation does not matter. */
function fromDensity(low, high, density) {
    const ratio = Math.log(high / low) / DIRECTIONS;
    const rhos = Array.from({ length: DIRECTIONS }, (_, i) => low * Math.exp((i + 0.5) * ratio));
    const directions = shares(rhos, rhos.map((rho) => rho * density(rho)));
    return Object.assign(directions, { largest: high });
}

function shares(rhos, weights) {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return rhos
        .map((rho, i) => ({ rho, weight: weights[i] / total }))
        .filter(({ weight }) => weight > 0);
}

/** A density with two parameters whose ends follow from them. */
function namedDensity(name, first, second) {
    const [[low, high]] = theory.picture[`${name}_ends`](first, second);
    return fromDensity(low, high, (rho) => theory.picture[name](rho, first, second));
}

const SPECTRA = {
    power_law: (set) =>
        fromDensity(set.smallest, set.largest, (rho) => theory.picture.power_law(rho, set.tail, 0)),
    // A uniform density is a power law, too.
    uniform: (set) =>
        fromDensity(set.smallest, set.largest, (rho) => theory.picture.power_law(rho, -1, 0)),
    marchenko_pastur: (set) => namedDensity("marchenko_pastur", set.aspect, set.variance),
    log_normal: (set) => namedDensity("log_normal", set.median, set.width),
    single: (set) => [{ rho: set.rho, weight: 1 }],
    own: (set) => binned(readNumbers(set.own).filter((rho) => rho > 0)),
};

/** Many eigenvalues as a few: means over bins of equal ratio. */
function binned(rhos) {
    if (!rhos.length) throw new Error("Give at least one eigenvalue above 0.");
    if (rhos.length <= DIRECTIONS) return shares(rhos, rhos.map(() => 1));
    const sorted = Float64Array.from(rhos).sort();
    const low = sorted[0];
    const span = Math.log(sorted[sorted.length - 1] / low) || 1;
    const bins = Array.from({ length: DIRECTIONS }, () => ({ sum: 0, count: 0 }));
    for (const rho of sorted) {
        const place = Math.floor((Math.log(rho / low) / span) * DIRECTIONS);
        const bin = bins[Math.min(place, DIRECTIONS - 1)];
        bin.sum += rho;
        bin.count += 1;
    }
    const filled = bins.filter(({ count }) => count);
    return shares(filled.map(({ sum, count }) => sum / count), filled.map(({ count }) => count));
}

/** Finite numbers from text; what is none is named. */
function readNumbers(text) {
    if (text.length > MOST_CHARACTERS) throw new Error("This is too long: 10 million characters at most.");
    const trimmed = text.trim();
    const words = /^[[{]/.test(trimmed) ? fromJson(trimmed) : fromWords(trimmed);
    return words.map((word) => {
        const value = typeof word === "string" ? Number(word) : word;
        if (typeof value !== "number" || !Number.isFinite(value)) {
            throw new Error(`“${String(word).slice(0, 20)}” is not a finite number.`);
        }
        return value;
    });
}

function fromJson(text) {
    let value;
    try {
        value = JSON.parse(text);
    } catch {
        throw new Error("This begins as JSON and is none. Check its brackets.");
    }
    const list = Array.isArray(value) ? value : value.eigenvalues;
    if (!Array.isArray(list)) throw new Error("The JSON has no list of “eigenvalues”.");
    return list;
}

function fromWords(text) {
    // The first line of a file may be the column's name.
    return text.replace(/^"?eigenvalues"?(?=\s|$)/i, "").split(/[\s,;]+/).filter(Boolean);
}
