// The upload form: drag and drop, early refusal of what is too large, a progress bar that can be cancelled, and what
// is wrong with the case details beside their fields.
// Without this script the form posts as any other. All texts come from the form's data- attributes.

const form = document.querySelector("[data-upload]");

if (form) {
  const find = (name) => form.querySelector(`[data-${name}]`);
  const input = find("file");
  const link = find("link-fields").querySelector("[name=link]");
  const chosen = find("chosen");
  const errorBox = find("error");
  const errorText = find("error-text");
  const sending = find("sending");
  const sendingText = find("sending-text");
  const bar = find("bar");
  const announcement = find("announce");
  const submit = find("submit");
  const cancel = find("cancel");
  const caseDetails = find("case");
  const texts = form.dataset;
  // European digits, as everywhere on the site; some languages would get their own.
  const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
  const maxBytes = Number(texts.maxBytes);
  let request = null;
  // The name of what is sent, until it is answered. When the connection breaks, nobody knows whether it had arrived:
  // sent again under the same name, it is examined and counted once.
  let key = "";

  const newKey = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // Fills {name} placeholders.
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  const percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(share);

  const formatSize = (bytes) => {
    const [unit, size] = bytes < 1024 * 1024 ? ["kilobyte", bytes / 1024] : ["megabyte", bytes / (1024 * 1024)];
    return new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: 1 }).format(size);
  };

  const showError = (text, isError = true) => {
    errorBox.classList.toggle("notice-error", isError);
    errorText.textContent = text;
    errorBox.hidden = false;
    errorBox.scrollIntoView({ block: "nearest" });
  };

  const clearError = () => {
    errorBox.hidden = true;
    errorText.textContent = "";
  };

  const caseFields = [...caseDetails.querySelectorAll("[name]")];

  const clearCaseErrors = () => {
    caseDetails.querySelectorAll(".errorlist").forEach((list) => list.remove());
    caseFields.forEach((field) => {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    });
  };

  // Returns the first field that is wrong, if any is.
  const showCaseErrors = (errors) => {
    const wrong = caseFields.filter((field) => errors[field.name]);
    wrong.forEach((field) => {
      const list = document.createElement("ul");
      list.className = "errorlist";
      list.id = `${field.id}_error`;
      errors[field.name].forEach((text) => {
        const entry = document.createElement("li");
        entry.textContent = text;
        list.append(entry);
      });
      field.after(list);
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", list.id);
    });
    if (wrong.length) caseDetails.open = true;
    return wrong[0];
  };

  const isTooLarge = (file) => {
    if (file.size <= maxBytes) return false;
    showError(texts.textTooLarge);
    return true;
  };

  const showChosen = () => {
    const file = input.files[0];
    key = "";
    clearError();
    announcement.textContent = "";
    chosen.hidden = !file;
    if (!file) return;
    chosen.textContent = fill(texts.textChosen, { name: file.name, size: formatSize(file.size) });
    announcement.textContent = chosen.textContent;
    isTooLarge(file);
  };

  const setBusy = (busy) => {
    sending.hidden = !busy;
    cancel.hidden = !busy;
    submit.disabled = busy;
    input.disabled = busy;
    if (busy) {
      bar.value = 0;
      cancel.focus();
    }
  };

  const stop = (text, isError = true) => {
    request = null;
    setBusy(false);
    announcement.textContent = "";
    // On a small window both don't fit: what is to be read is above.
    submit.focus({ preventScroll: true });
    showError(text, isError);
  };

  const showProgress = (loaded, total) => {
    const share = total ? loaded / total : 0;
    bar.value = share * 100;
    sendingText.textContent = fill(texts.textSending, { percent: percent(share) });
    // Spoken at each quarter only: a screen reader would not stop talking otherwise.
    const spoken = fill(texts.textSending, { percent: percent(Math.floor(share * 4) / 4) });
    if (announcement.textContent !== spoken) announcement.textContent = spoken;
  };

  const showChecking = () => {
    bar.removeAttribute("value");
    // The server has it all by now and may have accepted it: too late to call it back from here.
    cancel.hidden = true;
    sendingText.textContent = texts.textChecking;
    announcement.textContent = texts.textChecking;
  };

  const readAnswer = (text) => {
    try {
      return JSON.parse(text);
    } catch (error) {
      if (error instanceof SyntaxError) return {};
      throw error;
    }
  };

  const finish = () => {
    const answer = readAnswer(request.responseText);
    // What failed over there, or on the way, may have been taken all the same.
    if (request.status < 500) key = "";
    if (request.status === 201 && answer.id) {
      window.location.assign(texts.result.replace("0".repeat(24), answer.id));
      return;
    }
    const wrong = showCaseErrors(answer.errors ?? {});
    stop((wrong ? caseDetails.dataset.textWrong : answer.message) || texts.textUnknown);
    wrong?.focus();
  };

  const send = (file) => {
    const body = new FormData();
    body.append("file", file);
    const intoCase = form.querySelector("[name=add_to_case]");
    [...caseFields, ...(intoCase ? [intoCase] : [])]
      .filter((field) => field.value)
      .forEach((field) => body.append(field.name, field.value));
    key ||= newKey();
    request = new XMLHttpRequest();
    request.open("POST", texts.endpoint);
    request.setRequestHeader("Idempotency-Key", key);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Accept-Language", language);
    request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
    request.upload.addEventListener("progress", (event) => showProgress(event.loaded, event.total));
    request.upload.addEventListener("load", showChecking);
    request.addEventListener("load", finish);
    request.addEventListener("error", () => stop(texts.textNetwork));
    request.addEventListener("abort", () => stop(texts.textCancelled, false));
    setBusy(true);
    showProgress(0, file.size);
    request.send(body);
  };

  const holdsFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));

  form.addEventListener("submit", (event) => {
    const file = input.files[0];
    // A link goes as any form does; so does nothing at all, and the server says what is missing.
    if (!file && !request) return;
    event.preventDefault();
    if (request) return;
    clearError();
    clearCaseErrors();
    if (link.value.trim()) showError(texts.textBoth);
    else if (!isTooLarge(file)) send(file);
  });

  input.addEventListener("change", showChosen);
  // With other details it is another request.
  form.addEventListener("change", () => {
    key = "";
  });
  cancel.addEventListener("click", () => request?.abort());

  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = request ? "none" : "copy";
    document.documentElement.classList.toggle("dropping", !request);
  });

  document.addEventListener("dragleave", (event) => {
    // Leaving one element for another inside the page has a related target; leaving the page has none.
    if (!event.relatedTarget) document.documentElement.classList.remove("dropping");
  });

  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.documentElement.classList.remove("dropping");
    if (request) return;
    if (event.dataTransfer.files.length !== 1) {
      showError(texts.textOneFile);
      return;
    }
    input.files = event.dataTransfer.files;
    showChosen();
    submit.focus();
  });

  // Back from the result, the browser may show the page as it was left: in the middle of sending.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    request = null;
    setBusy(false);
    form.reset();
    showChosen();
  });

  find("drop-hint").hidden = false;
  showChosen();
}
