// The page that checks documents: drop a file anywhere, and the SHA-256 of one that is too large to send is calculated
// here. Without this script the form posts as any other. All texts come from the form's data- attributes.

const form = document.querySelector("[data-check]");

if (form) {
  const input = form.elements.file;
  const digest = form.elements.sha256;
  const errorBox = form.querySelector("[data-error]");
  const errorText = form.querySelector("[data-error-text]");
  const announcement = form.querySelector("[data-announce]");
  const submit = form.querySelector("button[type=submit]");
  const maxBytes = Number(form.dataset.maxBytes);

  const showError = (text) => {
    errorText.textContent = text;
    errorBox.hidden = false;
    errorBox.scrollIntoView({ block: "nearest" });
  };

  const holdsFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));

  const inHexadecimal = (buffer) =>
    Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // Browsers have it on https and on this very machine only, and read the whole file into memory for it.
  const sendDigestOf = async (file) => {
    submit.disabled = true;
    announcement.textContent = form.dataset.textCalculating;
    try {
      digest.value = inHexadecimal(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
      input.value = "";
      form.submit();
    } catch {
      showError(form.dataset.textTooLarge);
    } finally {
      submit.disabled = false;
      announcement.textContent = "";
    }
  };

  input.addEventListener("change", () => {
    errorBox.hidden = true;
  });

  form.addEventListener("submit", (event) => {
    const file = input.files[0];
    if (!file || file.size <= maxBytes) return;
    event.preventDefault();
    sendDigestOf(file);
  });

  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.documentElement.classList.add("dropping");
  });

  document.addEventListener("dragleave", (event) => {
    // Leaving one element for another inside the page has a related target; leaving the page has none.
    if (!event.relatedTarget) document.documentElement.classList.remove("dropping");
  });

  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.documentElement.classList.remove("dropping");
    if (event.dataTransfer.files.length !== 1) {
      showError(form.dataset.textOneFile);
      return;
    }
    errorBox.hidden = true;
    input.files = event.dataTransfer.files;
    submit.focus();
  });

  form.querySelector("[data-drop-hint]").hidden = false;
}
