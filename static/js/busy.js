// A button that sends a form shows at once that it was pressed, however long the answer takes, and sends it once: a
// double click would make two notes of one.

// Answers that are files leave the page as it is, and nothing tells when they have come.
const AT_MOST_MS = 8000;

const release = () => {
  document.querySelectorAll("[type=submit][aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
};

document.addEventListener("submit", (event) => {
  // Whoever prevented it shows in their own way how far they are.
  if (event.defaultPrevented || !event.submitter) return;
  if (event.submitter.hasAttribute("aria-busy")) {
    event.preventDefault();
    return;
  }
  event.submitter.setAttribute("aria-busy", "true");
  window.setTimeout(release, AT_MOST_MS);
});

// With something else filled in it is another request.
document.addEventListener("input", release);

// Back from the next page, the browser may show this one as it was left.
window.addEventListener("pageshow", release);
