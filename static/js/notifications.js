// The bell in the header: while something of the visitor's is examined, asks now and then whether it has ended, counts
// what is unread and shows news as it comes. Without this script the bell is a link with a count. All texts come from
// data- attributes.

const EVERY_MS = 20000;

const bell = document.querySelector("[data-bell]");

if (bell) {
  const texts = bell.dataset;
  // European digits, as everywhere on the site; some languages would get their own.
  const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
  const count = bell.querySelector("[data-count]");
  const number = bell.querySelector("[data-number]");
  const spoken = bell.querySelector("[data-spoken]");
  const toasts = document.querySelector("[data-toasts]");
  const template = document.querySelector("template[data-toast]");
  let since = Date.parse(texts.newestAt) || 0;
  let underWay = Number(texts.underWay);
  let etag = "";
  let timer = null;
  let asking = false;

  const showCount = (unread) => {
    count.hidden = unread === 0;
    const formatted = new Intl.NumberFormat(language).format(unread);
    number.textContent = unread > 99 ? "99+" : formatted;
    spoken.textContent = texts.textCount.replace("{count}", formatted);
  };

  const showToast = (news) => {
    const toast = template.content.firstElementChild.cloneNode(true);
    const link = toast.querySelector("[data-toast-link]");
    link.textContent = news.name;
    link.href = news.url;
    toast.querySelector("[data-toast-text]").textContent = news.text;
    toast.querySelector("[data-toast-close]").addEventListener("click", () => toast.remove());
    toasts.append(toast);
  };

  const showNews = (newest) => {
    const fresh = newest.filter((news) => Date.parse(news.created_at) > since);
    for (const news of fresh.reverse()) {
      since = Math.max(since, Date.parse(news.created_at));
      // The page of the result tells for itself.
      if (news.url !== window.location.pathname) showToast(news);
    }
  };

  const ask = async () => {
    const answer = await fetch(texts.endpoint, {
      headers: { Accept: "application/json", "Accept-Language": language, ...(etag && { "If-None-Match": etag }) },
      cache: "no-store",
      // On a bad network an answer may never come.
      signal: AbortSignal.timeout?.(EVERY_MS),
    });
    if (answer.status === 304) return;
    // Logged out meanwhile: the next page says so.
    if (answer.status === 401) underWay = 0;
    if (!answer.ok) return;
    etag = answer.headers.get("ETag") || "";
    const state = await answer.json();
    underWay = state.under_way;
    showCount(state.unread);
    showNews(state.newest);
  };

  const step = async () => {
    window.clearTimeout(timer);
    if (document.hidden || asking) return;
    asking = true;
    try {
      await ask();
    } catch {
      // No network for the moment: the next round tries again.
    } finally {
      asking = false;
    }
    if (underWay) timer = window.setTimeout(step, EVERY_MS);
  };

  if (underWay) timer = window.setTimeout(step, EVERY_MS);
  document.addEventListener("visibilitychange", () => {
    if (underWay) step();
  });
  window.addEventListener("pageshow", (event) => event.persisted && step());
  // The service worker got a push message.
  navigator.serviceWorker?.addEventListener("message", (event) => event.data === "news" && step());

  // Somebody else switched messages on in this browser and never logged out: they are not for these eyes.
  const forgetStranger = async () => {
    const registration = await navigator.serviceWorker?.getRegistration("/");
    const subscription = await registration?.pushManager?.getSubscription();
    const owner = window.localStorage.getItem("push-user");
    if (subscription && owner && owner !== texts.user) {
      await subscription.unsubscribe();
      window.localStorage.removeItem("push-user");
    }
  };
  forgetStranger();
}
