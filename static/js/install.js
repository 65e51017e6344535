// Registers the service worker, and offers to install the site as an app where the browser can do that.

const button = document.querySelector("[data-install]");
let offer = null;

navigator.serviceWorker?.register("/service-worker.js").catch(() => {
  // Private windows and some settings forbid it: everything but the app works without.
});

window.addEventListener("beforeinstallprompt", (event) => {
  if (!button) return;
  event.preventDefault();
  offer = event;
  button.hidden = false;
});

window.addEventListener("appinstalled", () => {
  if (button) button.hidden = true;
});

button?.addEventListener("click", async () => {
  await offer?.prompt();
  offer = null;
  button.hidden = true;
});
