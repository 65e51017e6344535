// The page of an analysis that is not finished: watches it through a WebSocket (docs/live.md), shows what comes, and opens
// the result when it is there. Where no WebSocket gets through it asks instead; without this script the page reloads itself.

import { LiveView } from "./live-view.js";
import { Poller, Progress } from "./progress.js";

const FIRST_WAIT_MS = 500;
const SLOWEST_MS = 30000;
// The server begins at once, and then says something at least every 15 seconds. Some networks let a socket neither
// through nor fail.
const FIRST_WORD_MS = 15000;
const SILENCE_MS = 40000;
// So many times in vain, and it is asked instead.
const TRIES = 2;
const CLOSED_FOR_GOOD = [4401, 4404];

class Watcher {
  constructor(section) {
    this.address = section.dataset.socket;
    this.progress = new Progress(section);
    const live = document.querySelector("[data-live]");
    // While the file is still fetched there is nothing to see.
    this.view = live && new LiveView(live);
    this.poller = new Poller(this.progress, () => this.openResult());
    this.socket = null;
    this.stream = null;
    this.next = 0;
    this.inVain = 0;
    this.timer = null;
    this.silence = null;
    this.leaving = false;
    // Whether another try began of which nothing was said yet.
    this.anew = false;
  }

  start() {
    if (!("WebSocket" in window)) {
      this.poller.start();
      return;
    }
    this.connect();
    window.addEventListener("online", () => this.reconnectNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.reconnectNow());
    window.addEventListener("pagehide", () => this.drop());
    window.addEventListener("pageshow", (event) => event.persisted && this.reconnectNow());
  }

  connect() {
    const address = new URL(this.address, window.location.href);
    address.protocol = address.protocol.replace("http", "ws");
    if (this.stream) {
      address.searchParams.set("stream", this.stream);
      address.searchParams.set("next", this.next);
    }
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", (event) => this.receive(socket, event.data));
    socket.addEventListener("close", (event) => this.lost(socket, event.code));
    this.socket = socket;
    this.listenForSilence(FIRST_WORD_MS);
  }

  receive(socket, data) {
    if (socket !== this.socket || this.leaving) return;
    this.listenForSilence();
    if (data instanceof ArrayBuffer) {
      this.view?.addPicture(new DataView(data).getUint32(0), new Blob([data.slice(4)], { type: "image/jpeg" }));
      return;
    }
    const message = JSON.parse(data);
    if ((message.type === "begin" || message.type === "state") && this.progress.isFetched(message)) {
      this.openResult();
      return;
    }
    if (message.type === "begin") this.begin(message);
    if (message.type === "begin" || message.type === "state") this.show(message);
    if (message.type === "begin") this.take(message.events, true);
    if (message.type === "events") this.take(message.events, false);
    if (message.type === "finished") this.openResult(message.url);
  }

  begin(message) {
    this.inVain = 0;
    this.poller.stop();
    this.progress.notify();
    const goesOn = message.stream && message.stream === this.stream && message.number === this.next;
    if (goesOn) return;
    if (this.stream && this.next && message.stream !== this.stream) this.anew = true;
    if (this.next) this.view?.reset();
    this.stream = message.stream;
    this.next = message.number;
  }

  show(state) {
    this.progress.show({ ...state, secondsLeft: state.seconds_left });
    if (this.anew) this.progress.notify(this.progress.texts.textAnew);
    this.anew = false;
  }

  // `past`: they happened before this watcher came.
  take(events, past) {
    for (const event of events) {
      this.view?.add(event, past);
      this.next = event.number + 1;
    }
  }

  lost(socket, code) {
    if (socket !== this.socket || this.leaving) return;
    window.clearTimeout(this.silence);
    this.socket = null;
    if (CLOSED_FOR_GOOD.includes(code)) {
      // Logged out or deleted: the server's page says so.
      this.openResult();
      return;
    }
    this.inVain += 1;
    if (this.inVain >= TRIES) this.poller.start();
    // Not all at once, where a server that starts anew is awaited by many.
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (this.inVain - 1), SLOWEST_MS) * (0.75 + Math.random() / 2);
    this.timer = window.setTimeout(() => this.connect(), wait);
  }

  listenForSilence(ms = SILENCE_MS) {
    const { socket } = this;
    window.clearTimeout(this.silence);
    this.silence = window.setTimeout(() => {
      this.lost(socket);
      socket.close();
    }, ms);
  }

  reconnectNow() {
    if (this.leaving || this.socket) return;
    this.drop();
    this.connect();
  }

  drop() {
    window.clearTimeout(this.timer);
    window.clearTimeout(this.silence);
    const { socket } = this;
    this.socket = null;
    this.poller.stop();
    if (socket) socket.close();
  }

  openResult(url = window.location.pathname) {
    if (this.leaving) return;
    this.leaving = true;
    this.drop();
    this.progress.announce(this.progress.texts.textDone);
    // The result begins at its top, not where this page was scrolled to.
    window.history.scrollRestoration = "manual";
    window.location.replace(url);
  }
}

const section = document.querySelector("[data-progress]");
if (section) new Watcher(section).start();
