// The link to a report that says what goes on: a report that nobody asked for before takes some seconds to be made.

for (const link of document.querySelectorAll("[data-report]")) {
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  status.className = "muted";
  // Empty most of the time: between two buttons it would be a gap.
  link.parentElement.append(status);
  link.addEventListener("click", async (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.getAttribute("aria-disabled") === "true") return;
    link.setAttribute("aria-disabled", "true");
    status.textContent = link.dataset.textMaking;
    try {
      const answer = await fetch(link.href);
      if (!answer.ok || answer.headers.get("Content-Type") !== "application/pdf") throw new Error(answer.statusText);
      save(await answer.blob(), nameIn(answer.headers.get("Content-Disposition")));
      status.textContent = link.dataset.textReady;
    } catch {
      // The page there says why there is none.
      status.textContent = "";
      location.assign(link.href);
    } finally {
      link.removeAttribute("aria-disabled");
    }
  });
}

function nameIn(disposition) {
  return /filename="([\w.-]+)"/.exec(disposition ?? "")?.[1] ?? "report.pdf";
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // Browsers begin to read it after the click.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
