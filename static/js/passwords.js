// Fields for passwords: a button that shows what is typed and, below a new one, which of the rules it meets so far.
// The rules are the server's; it says so too when the form is sent, with or without this.

const TYPING_MS = 600;

for (const button of document.querySelectorAll("[data-show-password]")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  const show = (shown) => {
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  };
  // Some browsers send what stands in text fields to a checker of spelling.
  input.spellcheck = false;
  input.autocapitalize = "none";
  button.addEventListener("click", () => show(input.type === "password"));
  // Sent as text, it would be kept and offered to whoever types there next.
  input.form.addEventListener("submit", () => show(false));
  window.addEventListener("pagehide", () => show(false));
}

for (const panel of document.querySelectorAll("[data-rules-of]")) {
  const input = document.getElementById(panel.dataset.rulesOf);
  const { form } = input;
  const meter = panel.querySelector("meter");
  const words = panel.querySelector("[role=status]");
  const rules = panel.parentElement.querySelectorAll(".helptext li");
  let timer;
  let latest = 0;

  const tick = (met) => {
    const count = met.filter(Boolean).length;
    rules.forEach((rule, at) => rule.toggleAttribute("data-met", Boolean(met[at])));
    meter.max = met.length || 1;
    meter.value = count;
    words.textContent = met.length ? panel.dataset.text.replace("{met}", count).replace("{all}", met.length) : "";
  };

  const ask = async () => {
    latest += 1;
    const own = latest;
    let met = [];
    if (input.value) {
      const body = new URLSearchParams({ password: input.value });
      for (const name of ["username", "email", "csrfmiddlewaretoken"]) {
        if (form.elements[name]) body.set(name, form.elements[name].value);
      }
      try {
        const answer = await fetch(panel.dataset.endpoint, { method: "POST", body });
        if (answer.ok) ({ met } = await answer.json());
      } catch {
        // No network: nothing is ticked for now.
      }
    }
    if (own === latest) tick(met);
  };

  // The names too: a password must not be like them.
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, TYPING_MS);
  });
}
