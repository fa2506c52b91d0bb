// The top-up page: shows what the chosen amount comes to. The server decides; without this the form works the same.
(() => {
  const form = document.querySelector("form[data-top-up]");
  if (!form) return;
  const other = form.elements.other;
  const presets = [...form.querySelectorAll("input[name=preset]")];
  const language = document.documentElement.lang || "en";
  const money = (currency) => new Intl.NumberFormat(language, { style: "currency", currency, currencyDisplay: "narrowSymbol" });
  const dollars = money("USD");
  const yuan = money("CNY");

  function chosen() {
    const written = other.value.trim().replace(/^\$/, "").replaceAll(",", "");
    const value = written || (presets.find((preset) => preset.checked) || {}).value || "";
    return /^\d{1,7}(\.\d{1,2})?$/.test(value) ? Number(value) : null;
  }

  function show() {
    const amount = chosen();
    const usd = amount === null ? "" : dollars.format(amount);
    for (const place of form.querySelectorAll("[data-show=usd]")) place.textContent = usd;
    for (const place of form.querySelectorAll("[data-show=cny]")) {
      place.textContent = amount === null ? "" : `≈ ${yuan.format(amount * Number(form.dataset.rate))}`;
    }
    if (usd) form.querySelector("[data-pay-label]").textContent = form.dataset.pay.replace("{amount}", usd);
  }

  for (const preset of presets) {
    preset.addEventListener("change", () => {
      other.value = "";
      show();
    });
  }
  other.addEventListener("input", () => {
    if (other.value.trim()) for (const preset of presets) preset.checked = false;
    show();
  });
  show();
})();
