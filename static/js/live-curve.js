// The score curve while it grows: the same drawing as reports/curve.py and templates/reports/curve.html make at the end.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [720, 260];
const [LEFT, RIGHT, TOP, BOTTOM] = [48, 44, 12, 32];
const TICKS = 6;
const LOOKS = 6;

// European digits, as everywhere on the site; some languages would get their own.
const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const asShort = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

const make = (name, attributes, ...children) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

const marker = (look, x, y) => {
  const translate = `translate(${x} ${y})`;
  const shapes = {
    1: () => make("circle", { class: "dot", cx: x, cy: y, r: 4.5 }),
    2: () => make("rect", { class: "dot", x, y, width: 9, height: 9, transform: "translate(-4.5 -4.5)" }),
    3: () => make("path", { class: "dot", d: "M0-6 5.5 4h-11z", transform: translate }),
    4: () => make("path", { class: "dot", d: "M0-6.200 6.200 0 0 6.200-6.200 0z", transform: translate }),
    5: () => make("circle", { class: "dot dot-hollow", cx: x, cy: y, r: 4.5 }),
    6: () => make("rect", { class: "dot dot-hollow", x, y, width: 8, height: 8, transform: "translate(-4 -4)" }),
  };
  return shapes[look]();
};

const centre = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];

// Who is who is known only at the end. Until then a face goes on the line whose last face lay nearest, if within its size.
const guessLines = (frames) => {
  const lines = [];
  for (const frame of frames) {
    const free = new Set(lines);
    for (const face of frame.faces) {
      if (face.score === null) continue;
      const [x, y] = centre(face.box);
      const reach = face.box[2] - face.box[0];
      let best = null;
      let least = reach;
      for (const line of free) {
        const [lastX, lastY] = centre(line.at(-1).box);
        const distance = Math.hypot(x - lastX, y - lastY);
        if (distance < least) [best, least] = [line, distance];
      }
      if (best) free.delete(best);
      else lines.push((best = []));
      best.push({ ...face, time: frame.time });
    }
  }
  return lines;
};

const knownLines = (persons) =>
  persons.map((person) => person.faces.map((face) => ({ ...face, score: face.fake_probability })));

export const drawCurve = (svg, { frames, persons, media, tip, seconds }) => {
  const lines = persons.length ? knownLines(persons) : guessLines(frames);
  const last = Math.max(0, ...frames.map((frame) => frame.time));
  const end = Math.max(media?.duration ?? 0, last, 0.001);
  const x = (time) => Math.round(10 * (LEFT + ((WIDTH - LEFT - RIGHT) * time) / end)) / 10;
  const y = (probability) => Math.round(10 * (TOP + (HEIGHT - TOP - BOTTOM) * (1 - probability))) / 10;
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const parts = [];
  if (media) {
    const { fake, real } = media.thresholds;
    parts.push(make("path", { class: "zone-fake", d: `M${LEFT} ${TOP}H${right}V${y(fake)}H${LEFT}z` }));
    parts.push(make("path", { class: "zone-real", d: `M${LEFT} ${y(real)}H${right}V${bottom}H${LEFT}z` }));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(make("path", { class: "grid", d: `M${LEFT} ${y(share)}H${right}` }));
    const text = { class: "tick", x: LEFT, y: y(share), dx: -6, dy: 4, "text-anchor": "end" };
    parts.push(make("text", text, `${whole.format(100 * share)} %`));
  }
  for (let tick = 0; media && tick <= TICKS; tick += 1) {
    const time = (end * tick) / TICKS;
    const text = { class: "tick", x: x(time), y: bottom, dy: 20, "text-anchor": tick === TICKS ? "end" : "middle" };
    parts.push(make("path", { class: "axis", d: `M${x(time)} ${bottom}v5` }));
    parts.push(make("text", text, seconds(time)));
  }
  parts.push(make("path", { class: "axis", d: `M${LEFT} ${bottom}H${right}` }));
  if (media) {
    for (const [name, value] of [["fake", media.thresholds.fake], ["real", media.thresholds.real]]) {
      parts.push(make("path", { class: `threshold threshold-${name}`, d: `M${LEFT} ${y(value)}H${right}` }));
      const text = { class: `label-${name}`, x: right, y: y(value), dx: 6, dy: 4 };
      parts.push(make("text", text, `${asShort.format(100 * value)} %`));
    }
  }
  lines.forEach((line, place) => {
    const look = (place % LOOKS) + 1;
    const points = line.map((face) => `${x(face.time)},${y(face.score)}`).join(" ");
    parts.push(make("polyline", { class: `series series-${look}`, points }));
    const dots = line.map((face) => make("g", {}, make("title", {}, tip(face)), marker(look, x(face.time), y(face.score))));
    parts.push(make("g", { class: `series-${look}` }, ...dots));
  });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren(...svg.querySelectorAll(":scope > title"), ...parts);
};
