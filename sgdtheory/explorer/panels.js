// The four pictures. What they show is computed by predictions.js.

const REGIMES = ["overdamped", "underdamped", "alternating", "unstable"];
const START = 4;
const TURN = Array.from({ length: 73 }, (_, i) => (i * Math.PI) / 36);
const find = (id) => document.getElementById(id);

function note(id, text) {
    find(`${id}-note`).textContent = text;
}

// -- phase portrait -----------------------------------------------------------------------------

function drawPortrait(set) {
    const { rho } = set;
    const still = obstacle(set, [{ rho, weight: 1 }]);
    const [[position, mixed], [, velocity]] = still
        ? [[1, 0], [0, 1]]
        : stationary(set).covariance(...at(set, 0, rho));
    const offset = START * Math.sqrt(position);
    const path = meanPath(set, rho, offset);
    // What grows without limit is shown as it begins.
    const shown = still ? path.filter(({ k }) => k <= 5) : path;
    const [widest, fastest] = [0, 1].map((i) => Math.max(...shown.map(({ state }) => Math.abs(state[i]))));
    const right = Math.max(1.12 * widest, 3.4 * Math.sqrt(position));
    const up = Math.max(1.12 * fastest, 3.4 * Math.sqrt(velocity));
    const plot = new Plot(
        find("portrait"),
        { low: -right, high: right, label: "offset from the minimum, θ − μ  (units of θ)" },
        { low: -up, high: up, label: "velocity v  (θ per time)" },
    );
    if (!still) {
        drawCurrents(plot, { position, mixed, velocity, turning: stationary(set).circulation(...at(set, 0, rho)) });
        drawLevels(plot, { position, mixed, velocity });
    }
    const points = path.map(({ state }) => state);
    plot.line(points, "mean");
    const near = path.filter(({ k }) => k === Math.floor(k) && k <= 150).map(({ state }) => state);
    if (set.theory === "discrete") plot.dots(near, "mean-dot");
    plot.dots([points[0]], "start", 4.5);
    note(
        "portrait",
        still ||
            `ρ = ${short(rho)}: the mean’s way from ${START} standard deviations at rest (thick; a dot is an update), ` +
                "level lines of the stationary density at 1, 2, 3 standard deviations (thin), and its probability current (arrows).",
    );
}

function drawLevels(plot, { position, mixed, velocity }) {
    const side = Math.sqrt(position);
    const [slant, rest] = [mixed / side, Math.sqrt(velocity - (mixed / side) ** 2)];
    for (const size of [1, 2, 3]) {
        plot.line(
            TURN.map((turn) => [
                size * side * Math.cos(turn),
                size * (slant * Math.cos(turn) + rest * Math.sin(turn)),
            ]),
            "level",
        );
    }
}

function drawCurrents(plot, { position, mixed, velocity, turning }) {
    const { x, y, width, height } = plot.box();
    const cell = Math.max(22, width / 15);
    const field = [];
    for (let i = cell / 2; i < width; i += cell) {
        for (let j = cell / 2; j < height; j += cell) {
            const [theta, v] = [plot.x.value(x + i), plot.y.value(y + j)];
            const current = theory.picture.current(theta, v, position, mixed, velocity, turning).flat();
            const origin = [plot.x.place(0), plot.y.place(0)];
            const right = plot.x.place(current[0]) - origin[0];
            const up = origin[1] - plot.y.place(current[1]);
            field.push({ theta, v, right, up, size: Math.hypot(right, up) });
        }
    }
    const largest = Math.max(...field.map(({ size }) => size));
    const arrows = field
        .map((arrow) => ({ ...arrow, scale: (1.15 * cell) / largest }))
        .filter(({ size }) => size > 0.08 * largest)
        .map(({ theta, v, right, up, scale }) => plot.arrow(theta, v, right * scale, up * scale));
    plot.path(arrows.join(""), "current");
}

// -- regime map -----------------------------------------------------------------------------------

let lastMap = "";

function drawMap(set) {
    const svg = find("map");
    const key = [set.theory, set.rho, set.lamda, svg.clientWidth, svg.clientHeight].join();
    if (key !== lastMap) {
        lastMap = key;
        drawRegions(set, svg);
    }
    svg.querySelector(".here")?.remove();
    const { x, y } = svg.plot;
    const [across, up] = [x.place(set.eta), y.place(1 - set.beta)];
    const here = shape("g", { class: "here" });
    here.append(
        shape("circle", { cx: across, cy: up, r: 7 }),
        shape("path", { d: `M${across - 13} ${up}h26M${across} ${up - 13}v26` }),
    );
    svg.plot.inside.append(here);
    const name = isStable(set, set.rho) ? regime(set, set.rho) : "unstable";
    note(
        "map",
        `ρ = ${short(set.rho)} at every learning rate and momentum; the cross is the present setting (${name}). ` +
            "Dashed: the stability limit. Where overdamped meets underdamped, damping is critical" +
            (set.theory === "discrete" ? "; close to the limit the mean alternates." : "."),
    );
}

function drawRegions(set, svg) {
    const [lowest, highest] = [CONTROLS.eta.low, CONTROLS.eta.high];
    const plot = new Plot(
        svg,
        { low: lowest, high: highest, log: true, label: "learning rate η" },
        {
            low: 1,
            high: 10 ** -CONTROLS.beta.nines,
            log: true,
            label: "momentum β",
            write: (damping) => String(Number((1 - damping).toPrecision(6))),
        },
    );
    svg.plot = plot;
    svg.prepend(patterns());
    const { x, y, width, height } = plot.box();
    const [across, down] = [2, 4];
    const runs = Object.fromEntries(REGIMES.map((name) => [name, []]));
    for (let j = 0; j < height; j += down) {
        const beta = 1 - plot.y.value(y + Math.min(j + down / 2, height));
        let from = 0;
        let before = null;
        for (let i = 0; i <= width + across; i += across) {
            const there = { ...set, beta, eta: plot.x.value(x + i + across / 2) };
            const name = i > width ? null : isStable(there, set.rho) ? regime(there, set.rho) : "unstable";
            if (name !== before) {
                runs[before]?.push([from, j, i - from]);
                [from, before] = [i, name];
            }
        }
    }
    for (const name of REGIMES) {
        const d = runs[name].map(([i, j, long]) => `M${x + i} ${y + j}h${long}v${down}h${-long}z`).join("");
        plot.path(d, `region ${name}`);
    }
    for (const name of REGIMES) nameRegion(plot, name, runs[name]);
    const betas = Array.from({ length: 81 }, (_, i) => 1 - 10 ** ((-CONTROLS.beta.nines * i) / 80));
    const limit = betas.map((beta) => [
        theory.step.largest_rate(...at({ ...set, beta, eta: 1 }, 0, set.rho)),
        1 - beta,
    ]);
    plot.line(limit, "limit");
}

/** The name in the middle of the region's widest row, where it fits. */
function nameRegion(plot, name, runs) {
    const { x, y } = plot.box();
    const widest = Math.max(0, ...runs.map(([, , long]) => long));
    const rows = runs.filter(([, , long]) => long > 0.6 * widest);
    if (widest < 9 * name.length || rows.length < 5) return;
    const [from, j, long] = rows[Math.floor(rows.length / 2)];
    plot.text(name, x + from + long / 2, y + j + 4, "middle", "region-name", plot.inside);
}

/** Hatchings, which tell regimes apart without colour. */
function patterns() {
    const lines = {
        overdamped: "",
        underdamped: "M-1 1L1 -1M0 8L8 0M7 9L9 7",
        alternating: "M-1 7L1 9M0 0L8 8M7 -1L9 1",
        unstable: "M0 4H8M4 0V8",
    };
    const defs = shape("defs", {});
    for (const [name, d] of Object.entries(lines)) {
        const tile = { id: `hatch-${name}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" };
        const pattern = shape("pattern", { ...tile, class: `hatch ${name}` });
        pattern.append(shape("rect", { width: 8, height: 8 }), shape("path", { d }));
        defs.append(pattern);
    }
    return defs;
}

// -- displacement and its exponent ------------------------------------------------------------------

const STEPS = { low: 1, high: 10 ** LAST_DECADE, log: true, label: "updates k" };

function drawCurves(set, spectrum, points) {
    const curve = growths(set, spectrum, points);
    // The portrait's direction, which may be unstable where the spectrum is not.
    const alone = [{ rho: set.rho, weight: 1 }];
    const hidden = set.kind === "single" || obstacle(set, alone) !== "";
    const single = hidden ? [] : points.map((k) => [k, displacement(set, alone, k)]);
    const total = curve.map(({ k, level }) => [k, level]);
    const levels = [...total, ...single].map(([, level]) => level).filter((level) => level > 0);
    const [least, most] = [Math.min(...levels), Math.max(...levels)].map(Math.log10);
    const spread = new Plot(find("displacement"), STEPS, {
        low: 10 ** Math.floor(least),
        high: 10 ** Math.ceil(most + 0.1),
        log: true,
        label: "E|Δ|² per direction  (θ²/σ²)",
    });
    const slope = new Plot(find("exponent"), STEPS, {
        low: -0.25,
        high: 2.1,
        ticks: [0, 0.5, 1, 1.5, 2],
        label: "d log E|Δ|² / d log k",
    });
    drawMarks(spread, set, spectrum, -1);
    drawMarks(slope, set, spectrum, 1);
    slope.line([[1, 1], [STEPS.high, 1]], "guide");
    // One order repeats itself every epoch: between two counts its curve is anything.
    const repeating = inEpochs(set) && set.sampler === "fixed_order";
    const draw = (plot, line, kind) => (repeating ? plot.dots(line, `${kind}-dot`) : plot.line(line, kind));
    draw(spread, single, "alone");
    draw(spread, total, "total");
    draw(slope, curve.map(({ k, exponent }) => [k + 1, exponent]), "total");
    const both = hidden ? "" : " (thick), and of the portrait’s direction alone (dashed)";
    note("displacement", `How far the weights have gone from where they were in the stationary state: mean over the spectrum${both}.`);
    note("exponent", "Slope of the displacement: 2 is a straight way, 1 diffusion, 0 an end; between 0 and 1 diffusion is anomalous.");
}

function growths(set, spectrum, points) {
    return points.map((k) => growth(set, spectrum, k));
}

/** Crossovers; their names begin at the top (1) or at the bottom (−1), where curves are not. */
function drawMarks(plot, set, spectrum, side) {
    const slowest = Math.max(...spectrum.map(({ rho }) => relaxation(set, rho)));
    plot.mark(theory.step.velocity_memory(...at(set, 0, set.rho)), "velocity forgotten", side);
    plot.mark(slowest, "slowest direction relaxed", 2 * side);
    if (inEpochs(set)) plot.mark(at(set, 0, set.rho)[7], "one epoch", 3 * side);
}

function drawObstacle(reason) {
    for (const [id, label] of [["displacement", "E|Δ|² per direction  (θ²/σ²)"], ["exponent", "d log E|Δ|² / d log k"]]) {
        new Plot(find(id), STEPS, { low: 0, high: 2, label }).message("no stationary state");
        note(id, reason);
    }
}
