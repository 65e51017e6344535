// Lays each heat map over its face, as strongly as its slider says. Without this script both stand side by side.

for (const heat of document.querySelectorAll("[data-heat]")) {
  const map = heat.querySelector("[data-heat-map]");
  const strength = heat.querySelector("[data-heat-strength]");
  const show = () => {
    map.style.opacity = Number(strength.value) / 100;
    strength.setAttribute("aria-valuetext", heat.dataset.textPercent.replace("{percent}", strength.value));
  };
  heat.classList.add("stacked");
  strength.closest("label").hidden = false;
  strength.addEventListener("input", show);
  show();
}
