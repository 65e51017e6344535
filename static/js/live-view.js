// The frames of an examination as they are judged: the newest one large with a box on each face, all of them small in a
// strip, and the curve of the scores. Fed by live.js with events and pictures as docs/live.md describes them.

import { drawBox, make, sizesFor } from "./face-boxes.js";
import { drawCurve } from "./live-curve.js";

// European digits, as everywhere on the site; some languages would get their own.
const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

export class LiveView {
  constructor(section) {
    this.section = section;
    this.texts = section.dataset;
    const find = (name) => section.querySelector(`[data-${name}]`);
    this.parts = Object.fromEntries(
      ["picture", "empty", "title", "faces", "pinned", "follow", "looked", "judged", "highest", "strip", "curve"].map(
        (name) => [name, find(name)],
      ),
    );
    this.parts.stripRegion = find("strip-region");
    this.isVideo = this.texts.media === "video";
    this.size = [Number(this.texts.width), Number(this.texts.height)];
    this.catchingUp = [];
    this.fetching = null;
    this.parts.follow.addEventListener("click", () => this.pin(null));
    this.reset();
  }

  // Forget everything: another try begins.
  reset() {
    for (const frame of this.frames?.values() ?? []) if (frame.picture) URL.revokeObjectURL(frame.picture);
    this.frames = new Map();
    this.persons = [];
    this.media = null;
    this.shown = null;
    this.pinned = null;
    this.parts.pinned.hidden = true;
    this.catchingUp = [];
    this.fetching?.abort();
    this.fetching = null;
    this.parts.strip?.replaceChildren();
    this.draw();
  }

  // `past`: its picture may not come by itself any more.
  add(event, past) {
    const { payload } = event;
    if (event.kind === "media") {
      this.media = payload;
      this.size = [payload.width, payload.height];
    } else if (event.kind === "frame") {
      const frame = this.frame(payload.frame, payload.time);
      frame.looked = true;
      for (const { box } of payload.faces) this.face(frame, box);
      if (past && event.url && !frame.picture) this.catchUp(frame, event.url);
    } else if (event.kind === "face") {
      this.score(payload);
    } else if (event.kind === "person") {
      this.persons.push(payload);
      for (const face of payload.faces) this.score(face).person = payload.person;
    }
    this.draw();
  }

  frame(index, time) {
    if (!this.frames.has(index)) this.frames.set(index, { index, time, faces: [], picture: null, entry: null });
    return this.frames.get(index);
  }

  face(frame, box) {
    const same = frame.faces.find((face) => face.box.every((corner, place) => corner === box[place]));
    if (same) return same;
    const face = { box, score: null, person: null };
    frame.faces.push(face);
    frame.faces.sort((one, other) => one.box[0] - other.box[0]);
    return face;
  }

  score({ frame, time, box, fake_probability: probability }) {
    const face = this.face(this.frame(frame, time), box);
    face.score = probability;
    return face;
  }

  // A frame's picture that came through the socket.
  addPicture(index, blob) {
    const frame = this.frames.get(index);
    if (!frame || frame.picture) return;
    frame.picture = URL.createObjectURL(blob);
    this.catchingUp = this.catchingUp.filter((other) => other.frame !== frame);
    this.draw();
  }

  // Pictures of earlier frames are not sent again: they are fetched one after the other, the newest first.
  catchUp(frame, url) {
    this.catchingUp.push({ frame, url });
    if (!this.fetching) this.fetchNext();
  }

  async fetchNext() {
    this.fetching = new AbortController();
    const { signal } = this.fetching;
    // The socket sends the newest by itself, and first.
    await new Promise((resolve) => window.setTimeout(resolve, 500));
    while (!signal.aborted && this.catchingUp.length) {
      const { frame, url } = this.catchingUp.pop();
      try {
        const answer = await fetch(url, { signal });
        if (answer.ok) this.addPicture(frame.index, await answer.blob());
      } catch (error) {
        if (error.name === "AbortError") return;
        // Without its picture, then: the scores are there.
        break;
      }
    }
    if (!signal.aborted) this.fetching = null;
  }

  pin(frame) {
    this.pinned = frame;
    this.parts.pinned.hidden = !frame;
    this.draw();
    if (!frame) this.parts.stripRegion?.focus();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = window.requestAnimationFrame(() => {
      this.drawing = null;
      this.drawNow();
    });
  }

  drawNow() {
    const frames = [...this.frames.values()].sort((one, other) => one.time - other.time);
    const isDone = (frame) => frame.faces.every((face) => face.score !== null);
    const withPicture = frames.filter((frame) => frame.picture);
    // What is judged is more worth seeing than what only will be.
    this.shown = this.pinned || withPicture.filter(isDone).at(-1) || withPicture.at(-1) || null;
    this.drawStage(this.shown);
    this.drawNumbers(frames);
    if (!this.isVideo) return;
    this.drawStrip(frames);
    drawCurve(this.parts.curve, {
      frames,
      persons: this.persons,
      media: this.media,
      tip: (face) => this.at(face.score, face.time),
      seconds: (time) => this.seconds(time),
    });
  }

  drawStage(frame) {
    const { picture, empty, title, faces } = this.parts;
    const [width, height] = this.size;
    empty.hidden = Boolean(frame);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!frame) {
      picture.replaceChildren();
      faces.replaceChildren();
      return;
    }
    const image = picture.querySelector("image") || make("image");
    const source = frame.picture || "";
    image.setAttribute("width", width);
    image.setAttribute("height", height);
    if (image.getAttribute("href") !== source) image.setAttribute("href", source);
    const sizes = sizesFor(width, height);
    picture.replaceChildren(image, ...frame.faces.flatMap((face, place) => this.box(face, place + 1, sizes)));
    title.textContent = this.isVideo
      ? fill(this.texts.textFrame, { time: oneDigit.format(frame.time) })
      : this.texts.textPhoto;
    const lines = frame.faces.map((face, place) => this.faceLine(face, place + 1));
    const texts = lines.length ? lines : [this.texts.textNoFace];
    faces.replaceChildren(
      ...texts.map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }),
    );
  }

  box(face, number, sizes) {
    const judged = face.score !== null;
    const label = `${whole.format(face.person ?? number)}: ${judged ? this.percent(face.score) : "…"}`;
    return drawBox({ box: face.box, label, judged, fake: this.isFake(face) }, sizes);
  }

  isFake(face) {
    return face.score !== null && this.media !== null && face.score > this.media.thresholds.frame;
  }

  faceLine(face, number) {
    const values = { number: whole.format(face.person ?? number), percent: whole.format(100 * (face.score ?? 0)) };
    if (face.score === null) return fill(this.texts.textUnjudged, values);
    return fill(this.isFake(face) ? this.texts.textFake : this.texts.textReal, values);
  }

  percent(probability) {
    return fill(this.texts.textPercent, { percent: whole.format(100 * probability) });
  }

  at(probability, time) {
    if (!this.isVideo) return this.percent(probability);
    return fill(this.texts.textAt, { percent: whole.format(100 * probability), time: oneDigit.format(time) });
  }

  seconds(time) {
    return fill(this.texts.textSeconds, { seconds: oneDigit.format(time) });
  }

  drawNumbers(frames) {
    const { looked, judged, highest } = this.parts;
    const scored = frames.flatMap((frame) =>
      frame.faces.filter((face) => face.score !== null).map((face) => ({ ...face, time: frame.time })),
    );
    const worst = scored.reduce((most, face) => (most && most.score >= face.score ? most : face), null);
    const seen = frames.filter((frame) => frame.looked).length;
    if (looked) {
      const total = Math.max(this.media?.frames ?? 0, seen);
      looked.textContent = total
        ? fill(this.texts.textOf, { count: whole.format(seen), total: whole.format(total) })
        : "–";
    }
    judged.textContent = frames.length ? whole.format(scored.length) : "–";
    highest.textContent = worst ? this.at(worst.score, worst.time) : "–";
  }

  drawStrip(frames) {
    const { strip, stripRegion } = this.parts;
    const atEnd = stripRegion.scrollLeft + stripRegion.clientWidth >= stripRegion.scrollWidth - 24;
    frames.forEach((frame, place) => {
      if (!frame.looked) return;
      frame.entry ??= this.entry(frame);
      this.drawEntry(frame);
      if (strip.children[place] !== frame.entry.item) strip.insertBefore(frame.entry.item, strip.children[place] ?? null);
    });
    if (atEnd && !this.pinned) stripRegion.scrollLeft = stripRegion.scrollWidth;
  }

  entry(frame) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const empty = document.createElement("span");
    const score = document.createElement("strong");
    const called = document.createElement("span");
    const time = document.createElement("span");
    button.type = "button";
    empty.className = "no-picture";
    called.className = "called";
    time.className = "muted";
    time.textContent = this.seconds(frame.time);
    button.append(empty, score, called, time);
    button.addEventListener("click", () => this.pin(this.pinned === frame ? null : frame));
    item.append(button);
    return { item, button, picture: empty, score, called };
  }

  drawEntry(frame) {
    const { entry } = frame;
    const scored = frame.faces.filter((face) => face.score !== null);
    const worst = scored.reduce((most, face) => (most && most.score >= face.score ? most : face), null);
    const isFake = worst !== null && this.isFake(worst);
    let called = frame.faces.length ? this.texts.textUnjudgedShort : this.texts.textNoFaceShort;
    if (worst) called = isFake ? this.texts.textFakeShort : this.texts.textRealShort;
    entry.item.classList.toggle("called-fake", isFake);
    entry.button.setAttribute("aria-pressed", String(this.pinned === frame));
    entry.button.classList.toggle("shown", this.shown === frame);
    entry.score.textContent = worst ? this.percent(worst.score) : "–";
    entry.called.textContent = called;
    if (frame.picture && entry.picture.tagName !== "IMG") {
      const image = document.createElement("img");
      image.src = frame.picture;
      image.alt = "";
      entry.picture.replaceWith(image);
      entry.picture = image;
    }
  }
}
