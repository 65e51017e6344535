// The video of a result with the frames that were looked at: own controls, a seek bar whose marks are the stretches called
// fake, boxes over the picture, and a curve that shows the frame under the pointer, the finger or the arrow keys.
// Without this script there is the browser's player, the curve and a table. All texts come from data- attributes.

import { drawBox, make, sizesFor } from "./face-boxes.js";

// A box drawn so many seconds from its frame is faint: who moves has moved on.
const NEAR_SECONDS = 0.12;
const STEP_SECONDS = 1;
// Going back from within a stretch leads to its own start first.
const BACK_SECONDS = 0.5;
const HAVE_METADATA = 1;

// European digits, as everywhere on the site; some languages would get their own.
const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// What plays where the browser can't: time that passes.
class Steps {
  constructor(length, time, rate) {
    this.length = length;
    this.from = time;
    this.since = null;
    this.playbackRate = rate;
  }

  get currentTime() {
    if (this.since === null) return this.from;
    return Math.min(this.from + (this.playbackRate * (performance.now() - this.since)) / 1000, this.length);
  }

  set currentTime(time) {
    this.from = time;
    if (this.since !== null) this.since = performance.now();
  }

  get paused() {
    return this.since === null || this.currentTime >= this.length;
  }

  play() {
    this.from = this.currentTime;
    this.since = performance.now();
  }

  pause() {
    this.from = this.currentTime;
    this.since = null;
  }
}

class Player {
  constructor(section) {
    const data = JSON.parse(document.getElementById("playback").textContent);
    const find = (name) => section.querySelector(`[data-${name}]`);
    this.section = section;
    this.texts = section.dataset;
    this.length = data.length;
    this.samples = data.samples;
    this.stretches = data.stretches;
    this.size = [Number(section.dataset.width), Number(section.dataset.height)];
    this.persons = [...new Set(this.samples.flatMap(({ faces }) => faces.map(({ person }) => person)))].sort(
      (one, other) => one - other,
    );
    this.video = find("video");
    this.player = this.video;
    this.parts = Object.fromEntries(
      [
        ...["stage", "overlay", "controls", "play", "previous", "next", "mute", "speed", "time", "seek", "frames"],
        ...["play-text", "mute-text", "playhead", "cursor-line", "caption", "title", "faces", "unplayable"],
      ].map((name) => [name, find(name)]),
    );
    // The frame under the pointer, and the one that was chosen; null where the video itself is to be seen.
    this.hovered = null;
    this.chosen = null;
    // What was asked for last; the video itself is paused by its own failure.
    this.wanted = false;
    this.drawing = null;
    this.loadingPictures = false;
  }

  start() {
    const { controls, seek, frames, caption, faces, overlay } = this.parts;
    this.video.controls = false;
    this.image = make("image", { preserveAspectRatio: "none", width: this.size[0], height: this.size[1] });
    this.boxes = make("g");
    this.scene = make("g");
    this.scene.append(this.image, this.boxes);
    overlay.append(this.scene);
    this.lines = this.persons.map(() => document.createElement("li"));
    if (!this.lines.length) this.lines = [document.createElement("li")];
    faces.append(...this.lines);
    for (const part of [controls, seek, frames, caption]) if (part) part.hidden = false;
    this.listen();
    this.draw();
  }

  listen() {
    const { video, parts } = this;
    const stretches = this.section.querySelectorAll("[data-stretch]");
    parts.play.addEventListener("click", () => this.toggle());
    parts.stage.addEventListener("click", () => this.toggle());
    parts.previous?.addEventListener("click", () => this.jump(-1));
    parts.next?.addEventListener("click", () => this.jump(1));
    parts.mute?.addEventListener("click", () => {
      video.muted = !video.muted;
      this.draw();
    });
    parts.speed.addEventListener("change", () => {
      video.playbackRate = this.player.playbackRate = Number(parts.speed.value);
    });
    parts.seek.addEventListener("input", () => this.seek(Number(parts.seek.value)));
    parts.seek.addEventListener("keydown", (event) => this.pressOnSeekBar(event));
    stretches.forEach((link) =>
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.seek(this.stretches[Number(link.dataset.stretch)][0]);
        parts.stage.scrollIntoView({ block: "nearest" });
      }),
    );
    for (const name of ["play", "pause", "ended", "seeked", "timeupdate"]) {
      video.addEventListener(name, () => this.draw());
    }
    video.addEventListener("loadedmetadata", () => this.fit());
    video.addEventListener("error", () => this.stepInstead());
    for (const name of ["pointerenter", "focusin", "touchstart"]) {
      this.section.addEventListener(name, () => this.loadPictures(), { once: true, passive: true });
    }
    if (parts.frames) this.listenToFrames(parts.frames);
  }

  listenToFrames(frames) {
    const under = (event) => {
      const { left, width } = frames.getBoundingClientRect();
      return this.nearest((this.length * (event.clientX - left)) / width);
    };
    frames.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      frames.setPointerCapture(event.pointerId);
      this.choose(under(event));
    });
    frames.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) this.choose(under(event));
      else if (event.pointerType === "mouse") this.hover(under(event));
    });
    frames.addEventListener("pointerleave", () => this.hover(null));
    frames.addEventListener("keydown", (event) => this.pressOnFrames(event));
  }

  pressOnFrames(event) {
    const last = this.samples.length - 1;
    const at = this.chosen ?? this.nearest(this.player.currentTime);
    const to = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      PageDown: at - 5,
      PageUp: at + 5,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.choose(clamp(to, 0, last));
  }

  pressOnSeekBar(event) {
    const step = event.shiftKey ? 1 / (Number(this.texts.frameRate) || 25) : STEP_SECONDS;
    const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step }[event.key];
    const stretch = { PageUp: -1, PageDown: 1 }[event.key];
    if (by === undefined && stretch === undefined) return;
    event.preventDefault();
    if (stretch) this.jump(stretch);
    else this.seek(this.player.currentTime + by);
  }

  toggle() {
    if (this.player.paused) this.play();
    else this.pause();
    this.draw();
  }

  pause() {
    this.wanted = false;
    this.player.pause();
  }

  play() {
    this.wanted = true;
    this.chosen = null;
    if (this.player.currentTime >= this.length - 0.05) this.player.currentTime = 0;
    // A video that can't be played says so by its "error" too.
    this.player.play()?.catch(() => this.draw());
  }

  seek(time) {
    this.chosen = null;
    this.moveTo(clamp(time, 0, this.length));
    this.draw();
  }

  moveTo(time) {
    // Until something of it is wanted, nothing of the video is fetched.
    if (this.player === this.video && this.video.readyState < HAVE_METADATA) this.video.preload = "auto";
    this.player.currentTime = time;
  }

  jump(direction) {
    if (!this.stretches.length) return;
    const time = this.player.currentTime;
    const starts = this.stretches.map(([start]) => start);
    // Beyond the last is the first.
    const to =
      direction > 0
        ? (starts.find((start) => start > time + 0.01) ?? starts[0])
        : (starts.findLast((start) => start < time - BACK_SECONDS) ?? starts.at(-1));
    this.seek(to);
  }

  // Show a frame that was looked at, and stop there.
  choose(index) {
    this.pause();
    this.hovered = null;
    this.chosen = index;
    this.moveTo(this.samples[index].time);
    this.draw();
  }

  hover(index) {
    if (this.hovered === index) return;
    this.hovered = index;
    this.draw();
  }

  nearest(time) {
    const distance = ({ time: other }) => Math.abs(other - time);
    return this.samples.reduce((best, sample, index) => (distance(sample) < distance(this.samples[best]) ? index : best), 0);
  }

  // Once the video is there: some have pixels that are not square, and their boxes have to be stretched as they are.
  fit() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) {
      // Sound only: the browser does not know how its pictures are coded.
      this.stepInstead();
      return;
    }
    const [width, height] = this.size;
    const shownHeight = (width * videoHeight) / videoWidth;
    this.parts.overlay.setAttribute("viewBox", `0 0 ${width} ${shownHeight}`);
    this.scene.setAttribute("transform", `scale(1 ${shownHeight / height})`);
    this.video.playbackRate = Number(this.parts.speed.value);
    this.draw();
  }

  stepInstead() {
    if (this.player !== this.video) return;
    this.player = new Steps(this.length, this.video.currentTime, Number(this.parts.speed.value));
    this.video.pause();
    this.parts.unplayable.hidden = false;
    if (this.parts.mute) this.parts.mute.hidden = true;
    if (this.wanted) this.player.play();
    this.draw();
  }

  // One after the other, the nearest first, so that a frame is there when it is pointed at. Kept by this page: some
  // may not be kept by the browser.
  async loadPictures() {
    if (this.loadingPictures) return;
    this.loadingPictures = true;
    const time = this.player.currentTime;
    const waiting = this.samples.filter(({ url }) => url).sort((a, b) => Math.abs(a.time - time) - Math.abs(b.time - time));
    for (const sample of waiting) {
      try {
        const answer = await fetch(sample.url);
        if (answer.ok) sample.picture = URL.createObjectURL(await answer.blob());
      } catch {
        // No network: where it is shown, it is asked for again.
        break;
      }
    }
  }

  draw() {
    this.drawing ??= window.requestAnimationFrame(() => {
      this.drawing = null;
      this.drawNow();
      if (!this.player.paused) this.draw();
    });
  }

  drawNow() {
    const time = Math.min(this.player.currentTime, this.length);
    const isVideo = this.player === this.video;
    const picked = this.hovered ?? this.chosen;
    const index = picked ?? (isVideo ? this.nearest(time) : this.before(time));
    const sample = this.samples[index];
    this.drawControls(time);
    if (!sample) return;
    const asFrame = picked !== null || !isVideo;
    this.drawPicture(sample, asFrame, time);
    this.drawCaption(sample, asFrame, time);
    this.drawCurve(sample, index, time);
  }

  // The last frame that was looked at until then.
  before(time) {
    const index = this.samples.findLastIndex((sample) => sample.time <= time + 0.001);
    return Math.max(index, 0);
  }

  drawControls(time) {
    const { play, mute, seek, time: text } = this.parts;
    const playing = !this.player.paused;
    this.section.classList.toggle("playing", playing);
    this.setText(this.parts["play-text"], playing ? this.texts.textPause : this.texts.textPlay);
    if (mute) {
      mute.classList.toggle("silent", this.video.muted);
      this.setText(this.parts["mute-text"], this.video.muted ? this.texts.textUnmute : this.texts.textMute);
    }
    play.classList.toggle("pressed", playing);
    seek.value = time;
    const where = fill(this.texts.textTime, { time: oneDigit.format(time), total: oneDigit.format(this.length) });
    const marked = this.stretches.some(([start, end]) => start <= time && time <= end);
    this.setText(text, where);
    seek.setAttribute("aria-valuetext", marked ? `${where}, ${this.texts.textMarked}` : where);
  }

  drawPicture(sample, asFrame, time) {
    const source = asFrame ? (sample.picture ?? sample.url) : "";
    if (this.image.getAttribute("href") !== source) {
      if (source) this.image.setAttribute("href", source);
      else this.image.removeAttribute("href");
    }
    this.boxes.classList.toggle("far", !asFrame && Math.abs(sample.time - time) > NEAR_SECONDS);
    if (this.drawn === sample) return;
    this.drawn = sample;
    const sizes = sizesFor(...this.size);
    this.boxes.replaceChildren(
      ...sample.faces.flatMap(({ person, box, percent, fake }) => {
        const score = fill(this.texts.textPercent, { percent: whole.format(percent) });
        return drawBox({ box, fake, judged: true, label: `${whole.format(person)}: ${score}` }, sizes);
      }),
    );
  }

  drawCaption(sample, asFrame, time) {
    const at = oneDigit.format(sample.time);
    const title = asFrame
      ? fill(this.texts.textFrame, { frame: whole.format(sample.frame), time: twoDigits.format(sample.time) })
      : fill(this.texts.textPlaying, { time: oneDigit.format(time), sample: at });
    this.setText(this.parts.title, title);
    this.lines.forEach((line, place) => this.setText(line, this.faceLine(sample, this.persons[place])));
  }

  faceLine(sample, person) {
    if (person === undefined) return this.texts.textNoFace;
    const face = sample.faces.find((one) => one.person === person);
    const number = whole.format(person);
    if (!face) return fill(this.texts.textAbsent, { number });
    const text = face.fake ? this.texts.textFake : this.texts.textReal;
    return fill(text, { number, percent: whole.format(face.percent) });
  }

  drawCurve(sample, index, time) {
    const { frames, playhead, "cursor-line": cursor } = this.parts;
    if (!frames) return;
    this.place(playhead, time);
    this.place(cursor, sample.time);
    frames.setAttribute("aria-valuenow", index + 1);
    const lines = this.persons.map((person) => this.faceLine(sample, person));
    const title = fill(this.texts.textFrame, {
      frame: whole.format(sample.frame),
      time: twoDigits.format(sample.time),
    });
    frames.setAttribute("aria-valuetext", [title, ...lines].join(" "));
  }

  place(line, time) {
    const x = `${(100 * time) / this.length}%`;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.setAttribute("visibility", "visible");
  }

  setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }
}

const section = document.querySelector("[data-player]");
if (section) new Player(section).start();
