// How far an examination is: the bar, the stage in words, the time left, and what is spoken of them.
// All texts come from data- attributes of the section.

const EVERY_MS = 1000;
const SLOWEST_MS = 30000;
// An answer that takes longer is not waited for: on a bad network it may never come, and nothing tells so.
const ANSWER_MS = 30000;
// Spoken: each stage, and each of these shares.
const SPOKEN_PERCENT = 25;

// European digits, as everywhere on the site; some languages would get their own.
const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
const wholeNumber = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });

const inWords = (seconds) => {
  const [amount, unit] = seconds < 90 ? [Math.ceil(seconds / 5) * 5, "second"] : [Math.round(seconds / 60), "minute"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(amount);
};

export class Progress {
  constructor(section) {
    this.texts = section.dataset;
    const find = (name) => section.querySelector(`[data-${name}]`);
    this.bar = find("bar");
    this.stage = find("stage");
    this.percent = find("percent");
    this.position = find("position");
    this.left = find("left");
    this.announcement = find("announce");
    this.notice = find("notice");
    this.noticeText = find("notice-text");
    this.title = document.title;
    this.spoken = "";
    this.spokenQuarter = 0;
  }

  // `state`: status, stage, progress, position in the queue, secondsLeft (null where nobody knows), served (whether
  // anybody can examine it).
  show(state) {
    this.bar.value = state.progress;
    this.percent.textContent = wholeNumber.format(state.progress);
    this.stage.textContent = this.stageText(state);
    this.position.textContent = this.positionText(state);
    this.left.textContent = this.leftText(state);
    document.title = `${this.percent.textContent} % · ${this.title}`;
    this.speakOf(state);
  }

  stageText(state) {
    if (state.stage === "fetching") return this.texts.textFetching;
    if (state.status === "queued") return this.texts.textQueued;
    return this.texts[`text${state.stage.charAt(0).toUpperCase()}${state.stage.slice(1)}`] || this.texts.textStarting;
  }

  positionText(state) {
    if (state.status !== "queued") return "";
    if (state.served === false) return this.texts.textUnserved;
    if (state.stage === "fetching") return "";
    if (!state.position) return this.texts.textNext;
    return this.texts.textPosition.replace("{count}", wholeNumber.format(state.position));
  }

  leftText(state) {
    if (state.secondsLeft === null || state.secondsLeft === undefined) return "";
    if (state.status === "queued") return this.texts.textResultIn.replace("{time}", inWords(state.secondsLeft));
    if (state.secondsLeft < 5) return this.texts.textMoments;
    return this.texts.textLeft.replace("{time}", inWords(state.secondsLeft));
  }

  // Whether the file that the page waits for has come: then there is another page.
  isFetched(state) {
    return this.texts.fetching !== undefined && state.stage !== "fetching";
  }

  speakOf(state) {
    const where = [this.stage.textContent, this.position.textContent].filter(Boolean).join(". ");
    const quarter = Math.floor(state.progress / SPOKEN_PERCENT);
    if (where === this.spoken && quarter <= this.spokenQuarter) return;
    const further = quarter > this.spokenQuarter;
    const percent = this.texts.textDonePercent.replace("{percent}", wholeNumber.format(quarter * SPOKEN_PERCENT));
    this.announce(further ? `${where}. ${percent}` : where);
    this.spoken = where;
    this.spokenQuarter = quarter;
  }

  announce(text) {
    if (this.announcement.textContent !== text) this.announcement.textContent = text;
  }

  // A text to see until the next call; none without one.
  notify(text = "") {
    this.notice.hidden = !text;
    this.noticeText.textContent = text;
    if (text) this.announce(text);
  }
}

// Asks how far it is, again and again: for browsers and networks that let no WebSocket through.
export class Poller {
  constructor(progress, onFinished) {
    this.progress = progress;
    this.onFinished = onFinished;
    this.timer = null;
    this.running = false;
    this.asking = false;
    this.wait = EVERY_MS;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || !this.running) return;
      window.clearTimeout(this.timer);
      this.step();
    });
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.wait = EVERY_MS;
    this.step();
  }

  stop() {
    this.running = false;
    window.clearTimeout(this.timer);
  }

  async step() {
    if (this.asking) return;
    this.asking = true;
    try {
      const state = await this.ask();
      if (!this.running) return;
      if (!state || state.finished || this.progress.isFetched(state)) {
        this.stop();
        this.onFinished();
        return;
      }
      this.progress.notify();
      this.progress.show({ ...state, position: state.queue_position, secondsLeft: null });
      this.wait = EVERY_MS;
    } catch {
      // No network, or the server restarts: slower and slower, but never giving up.
      this.wait = Math.min(this.wait * 2, SLOWEST_MS);
      if (this.running) this.progress.notify(this.progress.texts.textOffline);
    } finally {
      this.asking = false;
    }
    // Where nobody looks, seldom is enough.
    if (this.running) this.timer = window.setTimeout(() => this.step(), document.hidden ? SLOWEST_MS : this.wait);
  }

  // The state; null where the server's page says more: logged out or deleted meanwhile.
  async ask() {
    const answer = await fetch(this.progress.texts.endpoint, {
      headers: { Accept: "application/json", "Accept-Language": language },
      cache: "no-store",
      // Browsers that lack it wait as long as their system does.
      signal: AbortSignal.timeout?.(ANSWER_MS),
    });
    if ([401, 403, 404].includes(answer.status)) return null;
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    return answer.json();
  }
}
