// A button that copies the text field before it. Without a clipboard there is none: the text can be marked by hand.

const COPIED_FOR = 2000;

for (const block of document.querySelectorAll("[data-copyable]")) {
  const field = block.querySelector("textarea, input");
  const button = block.querySelector("[data-copy]");
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      // Not permitted here: mark it, so that the keys for copying do.
      field.select();
      return;
    }
    button.textContent = button.dataset.textDone;
    setTimeout(() => {
      button.textContent = label;
    }, COPIED_FOR);
  });
}
