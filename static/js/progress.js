// The page of an analysis that is not finished: asks how far it is, and opens the result when it is there.
// Without this script the page reloads itself every few seconds. All texts come from data- attributes.

const EVERY_MS = 1000;
const SLOWEST_MS = 30000;

const section = document.querySelector("[data-progress]");

if (section) {
  const find = (name) => section.querySelector(`[data-${name}]`);
  const bar = find("bar");
  const stage = find("stage");
  const percent = find("percent");
  const position = find("position");
  const announcement = find("announce");
  const offline = find("offline");
  const texts = section.dataset;
  const language = document.documentElement.lang || "en";
  const title = document.title;
  let wait = EVERY_MS;
  let timer = null;
  let asking = false;

  const announce = (text) => {
    if (announcement.textContent !== text) announcement.textContent = text;
  };

  const stageText = (state) => {
    if (state.status === "queued") return texts.textWaiting;
    return state.stage_text || texts.textStarting;
  };

  const positionText = (state) => {
    if (state.status !== "queued") return "";
    if (!state.queue_position) return texts.textNext;
    const count = new Intl.NumberFormat(language).format(state.queue_position);
    return texts.textPosition.replace("{count}", count);
  };

  const show = (state) => {
    offline.hidden = true;
    bar.value = state.progress;
    percent.textContent = new Intl.NumberFormat(language).format(state.progress);
    stage.textContent = stageText(state);
    position.textContent = positionText(state);
    document.title = `${percent.textContent} % · ${title}`;
    // Spoken when the stage or the place in the queue changes, not at each percent.
    announce([stage.textContent, position.textContent].filter(Boolean).join(". "));
  };

  const openResult = () => {
    announce(texts.textDone);
    window.location.reload();
  };

  const ask = async () => {
    const answer = await fetch(texts.endpoint, {
      headers: { Accept: "application/json", "Accept-Language": language },
      cache: "no-store",
    });
    // Logged out or deleted meanwhile: the server's page says so.
    if ([401, 403, 404].includes(answer.status)) return true;
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    const state = await answer.json();
    if (!state.finished) show(state);
    return state.finished;
  };

  const step = async () => {
    timer = null;
    if (document.hidden || asking) return;
    asking = true;
    try {
      if (await ask()) {
        openResult();
        return;
      }
      wait = EVERY_MS;
    } catch {
      // No network, or the server restarts: slower and slower, but never giving up.
      wait = Math.min(wait * 2, SLOWEST_MS);
      find("offline-text").textContent = texts.textOffline;
      offline.hidden = false;
      announce(texts.textOffline);
    } finally {
      asking = false;
    }
    timer = window.setTimeout(step, wait);
  };

  const resume = () => {
    if (document.hidden) return;
    window.clearTimeout(timer);
    wait = EVERY_MS;
    step();
  };

  document.addEventListener("visibilitychange", resume);
  window.addEventListener("online", resume);
  window.addEventListener("pageshow", (event) => event.persisted && resume());
  timer = window.setTimeout(step, EVERY_MS);
}
