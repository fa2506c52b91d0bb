// The top-up page: shows what the chosen amount comes to. The server decides; without this the form works the same.
(() => {
  const form = document.querySelector("form[data-top-up]");
  if (!form) return;
  const other = form.elements.other;
  const presets = [...form.querySelectorAll("input[name=preset]")];
  const label = form.querySelector("[data-pay-label]");
  const unknown = label.textContent;
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
      place.textContent = amount === null ? "" : fen(amount);
    }
    const method = form.querySelector("input[name=method]:checked");
    const due = usd && method && method.dataset.currency === "CNY" ? fen(amount) : usd;
    label.textContent = usd ? form.dataset.pay.replace("{amount}", due) : unknown;
  }

  // Cents times a rate of eight places, in whole numbers, half up to the fen: what the server will say.
  function fen(amount) {
    const [whole, part = ""] = form.dataset.rate.replaceAll(",", "").split(".");
    const rate = BigInt(whole + part.padEnd(8, "0").slice(0, 8));
    const cents = BigInt(Math.round(amount * 100));
    const found = (cents * rate + 50000000n) / 100000000n;
    return yuan.format(Number(found) / 100);
  }

  for (const preset of presets) {
    preset.addEventListener("change", () => {
      other.value = "";
      show();
    });
  }
  for (const method of form.querySelectorAll("input[name=method]")) method.addEventListener("change", show);
  other.addEventListener("input", () => {
    if (other.value.trim()) for (const preset of presets) preset.checked = false;
    show();
  });
  show();

  // How long the rate is still locked. The server's clock decides; the page only counts down what it was told.
  const rate = document.getElementById("rate");
  const countdown = rate && rate.querySelector("[data-countdown]");
  if (countdown) {
    const end = performance.now() + Number(rate.dataset.left) * 1000;
    const tick = () => {
      const left = Math.max(0, Math.round((end - performance.now()) / 1000));
      const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      countdown.textContent = left ? rate.dataset.locked.replace("{time}", time) : rate.dataset.over;
      countdown.classList.toggle("text-red-ink", left === 0);
      countdown.classList.toggle("num", left > 0);
      if (left) setTimeout(tick, 1000);
    };
    tick();
  }
})();
