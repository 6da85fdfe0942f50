// What happens when a setting changes.

const AT_REST = 250;
const FULL = counts(106, LAST_DECADE);
// While a slider moves, fewer points; sums under epochs cost more.
const DRAFT = { white: counts(24, LAST_DECADE), epochs: counts(15, LAST_DECADE) };

let set = fromAddress();
let spectrum = [];
let waiting = 0;

function changed(name, value, source) {
    set[name] = value;
    CONTROLS[name]?.show(value, source);
    update();
}

/** A draft at once, and the rest when the settings rest. */
function update() {
    const began = performance.now();
    showChoices();
    readSpectrum();
    draw(inEpochs(set) ? DRAFT.epochs : DRAFT.white);
    clearTimeout(waiting);
    waiting = setTimeout(settle, AT_REST);
    performance.measure("draw", { start: began, end: performance.now() });
}

/** What need not follow every move. */
function settle() {
    draw(FULL);
    showTable();
    find("summary").textContent = summary();
    toAddress(set);
    document.documentElement.dataset.settled = location.hash;
}

function draw(points) {
    drawPortrait(set);
    drawMap(set);
    const reason = obstacle(set, spectrum);
    if (reason) drawObstacle(reason);
    else drawCurves(set, spectrum, points);
    showNumbers(reason);
}

function readSpectrum() {
    const field = find("own");
    try {
        spectrum = SPECTRA[set.kind](set);
        field.setCustomValidity("");
        find("own-note").textContent = set.kind === "own" ? described() : "";
    } catch (error) {
        // The last good spectrum stays.
        field.setCustomValidity(error.message);
        find("own-note").textContent = error.message;
    }
    if (!spectrum.length) spectrum = SPECTRA.single(set);
}

function described() {
    const all = readNumbers(set.own);
    const left = all.filter((rho) => rho <= 0).length;
    const told = left ? ` ${left} are not above 0 and left out.` : "";
    const bins = all.length - left > ownResolution(set) ? ` They are gathered in ${spectrum.length} bins.` : "";
    return `${all.length} eigenvalues.${told}${bins}`;
}

function showChoices() {
    const continuous = set.theory === "continuous";
    find("sampler").disabled = continuous;
    find("sampler-note").hidden = !continuous;
    find("epochs").hidden = !inEpochs(set);
    find("own-entry").hidden = set.kind !== "own";
    for (const { of, row } of Object.values(CONTROLS)) if (of) row.hidden = !of.includes(set.kind);
    if (set.smallest >= set.largest) {
        set.smallest = set.largest / 10;
        CONTROLS.smallest.show(set.smallest);
    }
}

// -- numbers ------------------------------------------------------------------------------------

function showNumbers(reason) {
    const { rho } = set;
    const own = at(set, 0, rho);
    const stable = isStable(set, rho);
    const still = obstacle(set, [{ rho, weight: 1 }]) !== "";
    const slowest = Math.max(...spectrum.map((one) => relaxation(set, one.rho)));
    const rows = [
        ["regime", "Regime", stable ? regime(set, rho) : "unstable"],
        ["share", "Step, of its stability limit", theory.step.share_of_limit(...own), (x) => `${short(100 * x)} %`],
        ["largest-rate", "Largest stable η", theory.step.largest_rate(...own)],
        ["relaxation", "Relaxation (updates)", relaxation(set, rho)],
        ["temperature", "Effective temperature h Var θ (σ²)", still ? NaN : temperature(set, rho)],
        ["thermal-energy", "1/κ of the Langevin equation", theory.step.thermal_energy(...own)],
        ["memory", "Velocity’s memory (updates)", theory.step.velocity_memory(...own)],
        ["slowest", "Slowest relaxation (updates)", slowest],
        ["first", "E|Δ|² of one update, per direction", reason ? NaN : displacement(set, spectrum, 1)],
    ];
    rows.push(["epoch", "Updates per epoch", inEpochs(set) ? own[7] : "no epochs"]);
    find("numbers").replaceChildren(...rows.map((row) => numberRow(...row)));
}

function numberRow(id, name, value, write = short) {
    const pair = document.createElement("div");
    const term = Object.assign(document.createElement("dt"), { textContent: name });
    const text = typeof value === "string" ? value : write(value);
    const told = Object.assign(document.createElement("dd"), { id: `number-${id}`, textContent: text });
    told.dataset.value = value;
    pair.append(term, told);
    return pair;
}

function summary() {
    const reason = obstacle(set, spectrum);
    const { rho } = set;
    const share = short(100 * theory.step.share_of_limit(...at(set, 0, rho)));
    const stable = isStable(set, rho);
    const name = stable ? `${regime(set, rho)} and relaxes in ${short(relaxation(set, rho))} updates` : "unstable";
    return `The direction ρ = ${short(rho)} is ${name}, at ${share} % of its stability limit. ${reason || growthInWords()}`;
}

function growthInWords() {
    if (inEpochs(set) && set.sampler === "fixed_order") {
        return "With one order of the examples the displacement repeats itself every epoch: it has no exponent.";
    }
    const [early, late] = [100, 10000].map((k) => short(exponent(set, spectrum, k)));
    return `The displacement’s local exponent is ${early} after 100 updates and ${late} after 10 000.`;
}

function showTable() {
    const reason = obstacle(set, spectrum);
    const steps = reason ? [] : Array.from({ length: LAST_DECADE + 1 }, (_, i) => 10 ** i);
    find("rows").replaceChildren(
        ...steps.map((k) => {
            const row = document.createElement("tr");
            const head = Object.assign(document.createElement("th"), { scope: "row", textContent: k });
            row.append(head, cell(displacement(set, spectrum, k)), cell(exponent(set, spectrum, k)));
            return row;
        }),
    );
    find("data").dataset.spectrum = JSON.stringify(spectrum);
}

function cell(value) {
    const made = document.createElement("td");
    made.append(Object.assign(document.createElement("data"), { value: String(value), textContent: short(value) }));
    return made;
}

// -- the page begins -------------------------------------------------------------------------------

function showAll() {
    for (const [name, control] of Object.entries(CONTROLS)) control.show(set[name]);
    for (const name of Object.keys(CHOICES)) find(name).value = set[name];
    update();
}

for (const [name, control] of Object.entries(CONTROLS)) buildControl(name, control, changed);
for (const name of Object.keys(CHOICES)) {
    find(name).addEventListener("input", (event) => changed(name, event.target.value));
}
find("settings").addEventListener("submit", (event) => event.preventDefault());
find("settings").addEventListener("reset", (event) => {
    event.preventDefault();
    set = { ...STARTS };
    showAll();
});
find("own-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    if (file.size > MOST_CHARACTERS) {
        find("own-note").textContent = "The file is too large: 10 MB at most.";
        return;
    }
    find("own").value = await file.text();
    changed("own", find("own").value);
});
addEventListener("hashchange", () => {
    set = fromAddress();
    showAll();
});
addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => draw(FULL), AT_REST);
});
showAll();
