// The settings: one table of controls, each a slider and a number; the address keeps their values.

const tenth = (value) => Math.log10(value);
const raised = (place) => 10 ** place;
const asItIs = (value) => value;

/** A slider's places, and the values that they stand for. */
const SCALES = {
    log: ({ low, high }) => ({ from: tenth(low), to: tenth(high), place: tenth, value: raised }),
    linear: ({ low, high }) => ({ from: low, to: high, place: asItIs, value: asItIs }),
    // Zero has a place of its own, left of the smallest.
    log_or_zero: ({ smallest, high }) => ({
        from: tenth(smallest) - 1,
        to: tenth(high),
        place: (value) => (value > 0 ? Math.max(tenth(value), tenth(smallest)) : tenth(smallest) - 1),
        value: (place) => (place < tenth(smallest) - 0.5 ? 0 : raised(Math.max(place, tenth(smallest)))),
    }),
    // Nines: 0, 0.9, 0.99, …
    momentum: ({ nines }) => ({
        from: 0,
        to: nines,
        place: (value) => -tenth(1 - value),
        value: (place) => 1 - raised(-place),
    }),
};

const CONTROLS = {
    eta: { in: "run", label: "learning rate η", scale: "log", low: 1e-5, high: 10, start: 0.1 },
    beta: { in: "run", label: "momentum β", scale: "momentum", nines: 4, low: 0, high: 0.9999, start: 0.9, digits: 5 },
    S: { in: "run", label: "batch size S", scale: "log", low: 1, high: 1e5, start: 128, whole: true },
    lamda: { in: "run", label: "weight decay λ", scale: "log_or_zero", low: 0, smallest: 1e-8, high: 1, start: 0 },
    N: { in: "epochs", label: "examples N", scale: "log", low: 2, high: 1e8, start: 50000, whole: true },
    tail: { in: "spectrum", of: ["power_law"], label: "tail exponent a", scale: "linear", low: -1, high: 2, start: 0.5 },
    smallest: { in: "spectrum", of: ["power_law", "uniform"], label: "smallest ρ", scale: "log", low: 1e-10, high: 1, start: 1e-5 },
    largest: { in: "spectrum", of: ["power_law", "uniform"], label: "largest ρ", scale: "log", low: 1e-3, high: 1e3, start: 2 },
    aspect: { in: "spectrum", of: ["marchenko_pastur"], label: "aspect ratio d/N", scale: "linear", low: 0.01, high: 0.99, start: 0.9 },
    variance: { in: "spectrum", of: ["marchenko_pastur"], label: "variance of a component", scale: "log", low: 1e-4, high: 100, start: 1 },
    median: { in: "spectrum", of: ["log_normal"], label: "median ρ", scale: "log", low: 1e-8, high: 10, start: 1e-2 },
    width: { in: "spectrum", of: ["log_normal"], label: "deviation of log ρ", scale: "linear", low: 0.1, high: 4, start: 2 },
    rho: { in: "direction", label: "eigenvalue ρ", scale: "log", low: 1e-8, high: 1e3, start: 1 },
};
const CHOICES = { theory: "discrete", sampler: "with_replacement", kind: "power_law", own: "1, 0.1, 0.01, 0.001" };
const STARTS = { ...CHOICES, ...Object.fromEntries(Object.entries(CONTROLS).map(([name, { start }]) => [name, start])) };
const LONGEST_IN_ADDRESS = 2000;

/** A label, a slider and a number that follow one another. */
function buildControl(name, control, changed) {
    const range = SCALES[control.scale](control);
    const row = document.createElement("div");
    row.className = "control";
    const label = Object.assign(document.createElement("label"), { htmlFor: name, textContent: control.label });
    const number = Object.assign(document.createElement("input"), {
        type: "number", id: name, min: control.low, max: control.high, step: control.whole ? 1 : "any", required: true,
    });
    const slider = Object.assign(document.createElement("input"), {
        type: "range", id: `${name}-slider`, min: range.from, max: range.to, step: (range.to - range.from) / 200,
    });
    slider.setAttribute("aria-label", `${control.label}, slider`);
    control.show = (value, source) => {
        if (source !== number) number.value = String(value);
        if (source !== slider) slider.value = range.place(value);
        slider.setAttribute("aria-valuetext", short(value));
    };
    slider.addEventListener("input", () => changed(name, rounded(range.value(Number(slider.value)), control), slider));
    number.addEventListener("input", () => {
        if (number.checkValidity()) changed(name, Number(number.value), number);
    });
    number.addEventListener("change", () => number.reportValidity());
    row.append(label, number, slider);
    find(control.in).append(row);
    control.row = row;
}

function rounded(value, { whole, digits = 3, low, high }) {
    const near = whole ? Math.round(value) : Number(value.toPrecision(digits));
    return Math.min(high, Math.max(low, near));
}

/** Settings from the address; what is none of a setting's values is left at its start. */
function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const set = { ...STARTS };
    for (const [name, { low, high, whole }] of Object.entries(CONTROLS)) {
        const value = given.get(name)?.trim() ? Number(given.get(name)) : NaN;
        if (value >= low && value <= high) set[name] = whole ? Math.round(value) : value;
    }
    for (const name of ["theory", "sampler", "kind"]) {
        const allowed = [...find(name).options].map((option) => option.value);
        if (allowed.includes(given.get(name))) set[name] = given.get(name);
    }
    set.own = given.get("own") ?? STARTS.own;
    return set;
}

function toAddress(set) {
    const changed = Object.entries(set).filter(
        ([name, value]) => value !== STARTS[name] && String(value).length <= LONGEST_IN_ADDRESS,
    );
    // Before the whole is replaced, a slash would be the page's own folder.
    const hash = new URLSearchParams(changed).toString();
    history.replaceState(null, "", `#${hash}`);
}
