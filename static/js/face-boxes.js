// Boxes drawn over a picture of faces, the same while an examination runs and in its result: a full line means called
// fake, a broken one called real, a dotted one not judged yet. The dark rim keeps them visible on any picture.

const SVG = "http://www.w3.org/2000/svg";

export const make = (name, attributes = {}, text = "") => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
};

// Sizes for a picture of so many pixels.
export const sizesFor = (width, height) => {
  const fontSize = Math.max(Math.round(Math.min(width, height) / 15), 8);
  return { fontSize, stroke: Math.max(Math.round(fontSize / 6), 1) };
};

// `box` is [x1, y1, x2, y2]; `judged` and `fake` choose the line.
export const drawBox = ({ box, label, judged, fake }, { fontSize, stroke }) => {
  const [x1, y1, x2, y2] = box;
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  const rim = make("rect", { class: "box-rim", ...place, "stroke-width": stroke * 2 });
  const line = make("rect", { class: fake ? "box box-fake" : "box", ...place, "stroke-width": stroke });
  if (!judged) line.setAttribute("stroke-dasharray", `${stroke} ${stroke * 2}`);
  else if (!fake) line.setAttribute("stroke-dasharray", `${fontSize} ${stroke}`);
  const y = Math.max(y1 - Math.round(fontSize / 3), fontSize);
  const text = { class: "box-label", x: x1, y, "font-size": fontSize, "stroke-width": stroke };
  return [rim, line, make("text", text, label)];
};
