// A frame with two axes in SVG, and what is drawn in it.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 54, right: 14, top: 10, bottom: 40 };
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function shape(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
}

function powerOfTen(exponent) {
    const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[digit]).join("");
    return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

/** A number for a reader: three digits, and a power of ten where that is shorter. */
function short(value) {
    if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : value > 0 ? "∞" : "none";
    const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-12);
    const sign = (text) => text.replace("-", "−");
    if (exponent >= -3 && exponent < 6) return sign(String(Number(value.toPrecision(3))));
    return `${sign(String(Number((value / 10 ** exponent).toPrecision(3))))}×${powerOfTen(exponent)}`;
}

/** Evenly spaced round numbers in an interval. */
function roundNumbers(low, high, about) {
    const rough = (high - low) / about;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
    const first = Math.ceil(low / step - 1e-9);
    const number = Math.floor(high / step + 1e-9) - first + 1;
    return Array.from({ length: number }, (_, i) => (first + i) * step);
}

/** Powers of ten between two ends, in either order. */
function decades(low, high, about) {
    const [from, to] = [low, high].map(Math.log10).sort((a, b) => a - b);
    const every = Math.max(1, Math.ceil((to - from) / about));
    const first = Math.ceil(from - 1e-9);
    const number = Math.max(0, Math.floor((to - first) / every + 1e-9) + 1);
    return Array.from({ length: number }, (_, i) => 10 ** (first + i * every));
}

/** An axis: low, high, log, label, and how ticks are written. */
class Axis {
    constructor({ low, high, log = false, label, write, ticks }, from, to) {
        const warp = log ? Math.log10 : (value) => value;
        const [start, end] = [warp(low), warp(high)];
        this.label = label;
        this.place = (value) => from + ((warp(value) - start) / (end - start)) * (to - from);
        this.value = (place) => {
            const warped = start + ((place - from) / (to - from)) * (end - start);
            return log ? 10 ** warped : warped;
        };
        const about = Math.max(2, Math.floor(Math.abs(to - from) / 62));
        this.ticks = ticks ?? (log ? decades(low, high, about) : roundNumbers(low, high, about));
        this.write = write ?? (log ? (value) => powerOfTen(Math.round(Math.log10(value))) : short);
    }
}

class Plot {
    constructor(svg, x, y) {
        this.svg = svg;
        this.width = svg.clientWidth || 320;
        this.height = svg.clientHeight || 260;
        svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
        svg.replaceChildren();
        this.x = new Axis(x, MARGIN.left, this.width - MARGIN.right);
        this.y = new Axis(y, this.height - MARGIN.bottom, MARGIN.top);
        const clip = `${svg.id}-clip`;
        const inside = this.box();
        svg.append(shape("clipPath", { id: clip }), shape("rect", { ...inside, class: "ground" }));
        svg.firstChild.append(shape("rect", inside));
        this.inside = shape("g", { "clip-path": `url(#${clip})` });
        svg.append(this.inside);
        this.frame(inside);
    }

    box() {
        return {
            x: MARGIN.left,
            y: MARGIN.top,
            width: this.width - MARGIN.left - MARGIN.right,
            height: this.height - MARGIN.top - MARGIN.bottom,
        };
    }

    frame({ x, y, width, height }) {
        const bottom = y + height;
        const grid = [];
        for (const tick of this.x.ticks) {
            const at = this.x.place(tick);
            grid.push(`M${at} ${y}V${bottom}`);
            this.text(this.x.write(tick), at, bottom + 15, "middle");
        }
        for (const tick of this.y.ticks) {
            const at = this.y.place(tick);
            grid.push(`M${x} ${at}H${x + width}`);
            this.text(this.y.write(tick), x - 6, at + 4, "end");
        }
        this.inside.append(shape("path", { d: grid.join(""), class: "grid" }));
        this.svg.append(shape("rect", { x, y, width, height, class: "frame" }));
        this.text(this.x.label, x + width / 2, this.height - 6, "middle", "label");
        const middle = y + height / 2;
        const label = this.text(this.y.label, 13, middle, "middle", "label");
        label.setAttribute("transform", `rotate(-90 13 ${middle})`);
    }

    text(text, x, y, anchor, kind = "tick", parent = this.svg) {
        const made = shape("text", { x, y, "text-anchor": anchor, class: kind }, text);
        parent.append(made);
        return made;
    }

    /** A path through points [x, y]; where a point is none, it begins anew. */
    line(points, kind) {
        let pen = "M";
        const steps = points.map(([x, y]) => {
            const place = [this.x.place(x), this.y.place(y)];
            if (!place.every(Number.isFinite)) {
                pen = "M";
                return "";
            }
            const step = `${pen}${place.map((at) => Math.max(-1e4, Math.min(1e4, at)).toFixed(1)).join(" ")}`;
            pen = "L";
            return step;
        });
        this.path(steps.join(""), kind);
    }

    path(d, kind) {
        this.inside.append(shape("path", { d, class: kind }));
    }

    dots(points, kind, radius = 2.2) {
        const round = `a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`;
        const centres = points.map(([x, y]) => [this.x.place(x), this.y.place(y)]);
        const seen = centres.filter((place) => place.every((at) => Math.abs(at) < 1e4));
        this.path(seen.map(([x, y]) => `M${x - radius} ${y}${round}`).join(""), kind);
    }

    /** An arrow from a point, by pixels. */
    arrow(x, y, right, up) {
        const [fromX, fromY] = [this.x.place(x) - right / 2, this.y.place(y) + up / 2];
        const [toX, toY] = [fromX + right, fromY - up];
        const wing = (turn) => {
            const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
            return `M${toX} ${toY}l${(-right * cos - up * sin) * 0.38} ${(up * cos - right * sin) * 0.38}`;
        };
        return `M${fromX} ${fromY}L${toX} ${toY}${wing(0.5)}${wing(-0.5)}`;
    }

    /** A named vertical line; `row` keeps the names of neighbours apart, from the bottom where negative. */
    mark(x, name, row) {
        const at = this.x.place(x);
        const { x: left, y: top, width, height } = this.box();
        if (!(at > left && at < left + width)) return;
        this.path(`M${at} ${top}v${height}`, "mark");
        const end = at > left + width / 2;
        const line = row > 0 ? top + 13 * row : top + height + 4 + 13 * row;
        this.text(name, end ? at - 4 : at + 4, line, end ? "end" : "start", "name", this.inside);
    }

    message(text) {
        const { x, y, width, height } = this.box();
        this.text(text, x + width / 2, y + height / 2, "middle", "name", this.inside);
    }
}
