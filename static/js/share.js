// Takes the file that a phone's "share" menu handed to the service worker and puts it into the upload form. It is not
// sent by itself: any other site could have posted it here, and whose file is examined is for its user to say.

const CACHE = "sentinel-shared";
const FILE = "/share/file";

const notice = document.querySelector("[data-shared]");
const input = document.querySelector("[data-file]");

const take = async () => {
  const cache = await window.caches?.open(CACHE);
  const kept = await cache?.match(FILE);
  if (!kept) return null;
  const file = new File([await kept.blob()], decodeURIComponent(kept.headers.get("X-File-Name")), {
    type: kept.headers.get("Content-Type"),
  });
  await cache.delete(FILE);
  return file;
};

const begin = async () => {
  const text = notice.querySelector("[data-shared-text]");
  if (document.querySelector("[name=link]").value) {
    text.textContent = notice.dataset.textReady;
    document.querySelector("[data-submit]").focus();
    return;
  }
  const file = await take().catch(() => null);
  if (!file) {
    text.textContent = notice.dataset.textMissing;
    return;
  }
  const transfer = new DataTransfer();
  transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change"));
  text.textContent = notice.dataset.textReady;
  document.querySelector("[data-submit]").focus();
};

// Without an input today's examinations are used up: the file waits.
if (notice && input) begin();
