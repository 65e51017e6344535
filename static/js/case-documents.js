// The page of a case's reports and exports while one of them is made: asks how far they are, and shows the page anew when
// one is ready. Without this script the page reloads itself. All texts come from data- attributes.

import { Poller } from "./progress.js";

// European digits, as everywhere on the site; some languages would get their own.
const number = new Intl.NumberFormat(`${document.documentElement.lang || "en"}-u-nu-latn`);

// What Poller asks of a page that it keeps up to date.
class Documents {
  constructor(list) {
    this.list = list;
    this.texts = list.dataset;
    this.announcement = document.querySelector("[data-announce]");
  }

  // Whether something ended: then the page has more to show.
  isFetched(state) {
    const underWay = new Set(state.results.filter((row) => row.state === "waiting" || row.state === "making").map((row) => row.id));
    return [...this.list.querySelectorAll("[data-document]")].some((entry) => {
      return entry.querySelector("[data-state]") && !underWay.has(entry.dataset.document);
    });
  }

  show(state) {
    for (const row of state.results) {
      const entry = this.list.querySelector(`[data-document="${row.id}"]`);
      const text = entry?.querySelector("[data-state]");
      if (!text) continue;
      const bar = entry.querySelector("[data-bar]");
      bar.max = row.total || 1;
      bar.value = row.done;
      text.textContent = this.textOf(row);
    }
  }

  textOf(row) {
    if (row.state === "waiting") return this.texts.textWaiting;
    if (!row.total) return this.texts.textStarting;
    return this.texts.textMaking.replace("{done}", number.format(row.done)).replace("{total}", number.format(row.total));
  }

  notify(text = "") {
    if (this.announcement.textContent !== text) this.announcement.textContent = text;
  }
}

const list = document.querySelector("[data-documents]");
if (list) new Poller(new Documents(list), () => window.location.reload()).start();
