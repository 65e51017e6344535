// Runs beside the pages: shows push messages, has a page for when there is no network, and takes files from a phone's
// "share" menu. SENTINEL is set by /service-worker.js before this file is loaded: see sentinel_site/pwa.py.
//
// Kept on the device are only the parts that every visitor sees alike. Computers are shared: no page with somebody's
// files, no result, no answer of the API is ever kept, and at log-out all goes.

const SHELL_CACHE = `sentinel-shell-${SENTINEL.version}`;
const SHARED_CACHE = "sentinel-shared";
const SHARED_FILE = "/share/file";
const SHARED_FOR_MS = 60 * 60 * 1000;

const cacheShell = async () => {
  const cache = await caches.open(SHELL_CACHE);
  await cache.addAll([SENTINEL.offline, ...SENTINEL.shell].map((url) => new Request(url, { cache: "no-cache" })));
};

const dropCaches = async (keep) => {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => !keep.includes(name)).map((name) => caches.delete(name)));
};

const dropOldShare = async () => {
  if (!(await caches.has(SHARED_CACHE))) return;
  const kept = await (await caches.open(SHARED_CACHE)).match(SHARED_FILE);
  if (!kept || Date.now() - Number(kept.headers.get("X-Kept-At")) > SHARED_FOR_MS) await caches.delete(SHARED_CACHE);
};

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(cacheShell());
});

self.addEventListener("activate", (event) => {
  const prepare = async () => {
    await dropCaches([SHELL_CACHE, SHARED_CACHE]);
    await self.registration.navigationPreload?.enable();
    await self.clients.claim();
  };
  event.waitUntil(prepare());
});

const openPage = async (event) => {
  try {
    return (await event.preloadResponse) || (await fetch(event.request));
  } catch {
    return (await caches.match(SENTINEL.offline)) || Response.error();
  }
};

const fromShell = async (request) => (await caches.match(request)) || fetch(request);

// Letters that the device lacks, for the page without network too. Their names hold digests of their content.
const fromFonts = async (request) => {
  const kept = await caches.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok) await (await caches.open(SHELL_CACHE)).put(request, answer.clone());
  return answer;
};

const keepShared = async (request) => {
  const shared = await request.formData();
  const file = shared.get("file");
  if (file instanceof File && file.size) {
    const headers = {
      "Content-Type": file.type || "application/octet-stream",
      "X-File-Name": encodeURIComponent(file.name),
      "X-Kept-At": String(Date.now()),
    };
    await (await caches.open(SHARED_CACHE)).put(SHARED_FILE, new Response(file, { headers }));
  }
  // Most apps put a link into the text.
  const link = `${shared.get("url") ?? ""} ${shared.get("text") ?? ""}`.match(/https?:\/\/\S+/);
  const isLink = link && !(file instanceof File && file.size);
  return Response.redirect(isLink ? `/share/?${new URLSearchParams({ link: link[0] })}` : "/share/", 303);
};

// After a log-out nothing is left for the next person at this device.
const forget = async () => {
  await dropCaches([]);
  const [subscription, shown] = await Promise.all([
    self.registration.pushManager.getSubscription(),
    self.registration.getNotifications(),
  ]);
  shown.forEach((notification) => notification.close());
  await subscription?.unsubscribe();
  await cacheShell();
};

const logOut = async (event) => {
  const answer = await fetch(event.request);
  // A redirect is what the server answers when it is done; its page is fetched by the browser.
  if (answer.type === "opaqueredirect" || answer.ok) event.waitUntil(forget());
  return answer;
};

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin) return;
  if (request.method === "POST" && url.pathname === "/share/") event.respondWith(keepShared(request));
  else if (request.method === "POST" && url.pathname === SENTINEL.logout) event.respondWith(logOut(event));
  else if (request.method !== "GET") return;
  else if (request.mode === "navigate") {
    event.waitUntil(dropOldShare());
    event.respondWith(openPage(event));
  } else if (SENTINEL.shell.includes(url.pathname)) event.respondWith(fromShell(request));
  else if (request.destination === "font") event.respondWith(fromFonts(request));
});

self.addEventListener("push", (event) => {
  const show = async () => {
    const { title, body, tag, url, lang } = event.data.json();
    // The same tag: a message that comes a second time takes the place of the first, without a sound.
    const { icon, badge } = SENTINEL;
    await self.registration.showNotification(title, { body, tag, lang, icon, badge, data: { url } });
    const pages = await self.clients.matchAll({ type: "window" });
    pages.forEach((page) => page.postMessage("news"));
  };
  event.waitUntil(show());
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const open = async () => {
    const url = new URL(event.notification.data.url, self.location.origin);
    // Only pages of this site, whatever a message says.
    if (url.origin !== self.location.origin) return;
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = pages.find((one) => new URL(one.url).pathname === url.pathname);
    await (page ? page.focus() : self.clients.openWindow(url.href));
  };
  event.waitUntil(open());
});

// The browser made its subscription anew, or dropped it: the server learns of the new one, and drops the old one when
// a message to it comes back.
const renew = async (newSubscription) => {
  const options = { userVisibleOnly: true, applicationServerKey: SENTINEL.key };
  const subscription = newSubscription ?? (await self.registration.pushManager.subscribe(options));
  const { endpoint, keys } = subscription.toJSON();
  // Browsers without a cookie store tell the server at the next visit to the page of notifications.
  const token =
    (await self.cookieStore?.get("__Host-csrftoken")) ?? (await self.cookieStore?.get("csrftoken"));
  if (!token) return;
  await fetch(SENTINEL.devices, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": token.value },
    body: JSON.stringify({ endpoint, keys: { p256dh: keys.p256dh, auth: keys.auth } }),
  });
};

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event.newSubscription)));
