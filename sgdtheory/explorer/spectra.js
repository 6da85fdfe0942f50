// Spectra as lists of directions: an eigenvalue, and the share of all directions that it stands for.

const MOST_CHARACTERS = 1e7;

/** How many directions stand for a density; sums under epochs cost ten times as much. */
function resolution(set) {
    return inEpochs(set) ? 40 : 120;
}

/** Eigenvalues of one's own stand as they are, as long as they can: bins roughen an exponent. */
function ownResolution(set) {
    return 3 * resolution(set);
}

/** Equal ratios between two ends, weighed by a density; its normalisation does not matter. */
function fromDensity(set, low, high, density) {
    const number = resolution(set);
    const ratio = Math.log(high / low) / number;
    const rhos = Array.from({ length: number }, (_, i) => low * Math.exp((i + 0.5) * ratio));
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
function namedDensity(set, name, first, second) {
    const [[low, high]] = theory.picture[`${name}_ends`](first, second);
    return fromDensity(set, low, high, (rho) => theory.picture[name](rho, first, second));
}

const SPECTRA = {
    power_law: (set) =>
        fromDensity(set, set.smallest, set.largest, (rho) => theory.picture.power_law(rho, set.tail)),
    // A uniform density is a power law, too.
    uniform: (set) =>
        fromDensity(set, set.smallest, set.largest, (rho) => theory.picture.power_law(rho, -1)),
    marchenko_pastur: (set) => namedDensity(set, "marchenko_pastur", set.aspect, set.variance),
    log_normal: (set) => namedDensity(set, "log_normal", set.median, set.width),
    single: (set) => [{ rho: set.rho, weight: 1 }],
    own: (set) => binned(readNumbers(set.own).filter((rho) => rho > 0), ownResolution(set)),
};

/** Many eigenvalues as a few: means over bins of equal ratio. */
function binned(rhos, most) {
    if (!rhos.length) throw new Error("Give at least one eigenvalue above 0.");
    if (rhos.length <= most) return shares(rhos, rhos.map(() => 1));
    const sorted = Float64Array.from(rhos).sort();
    const low = sorted[0];
    const span = Math.log(sorted[sorted.length - 1] / low) || 1;
    const bins = Array.from({ length: most }, () => ({ sum: 0, count: 0 }));
    for (const rho of sorted) {
        const place = Math.floor((Math.log(rho / low) / span) * most);
        const bin = bins[Math.min(place, most - 1)];
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
