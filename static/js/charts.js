// Charts from data that the page carries: <canvas data-chart="id"> beside <script type="application/json" id="id">.
// {type: "bar"|"line", labels: [], series: [{name, data, color?}], unit: "usd"|"cny"|"flows"|"count", stacked?, legend?}
(() => {
  const PALETTE = ["primary", "azure", "teal", "yellow", "purple", "orange", "pink", "lime", "cyan", "gray-400"];
  const language = document.documentElement.lang || "en";
  const drawn = new Map();

  // Tabler's colours are written in oklch(); a canvas wants them resolved.
  const probe = document.createElement("canvas").getContext("2d");
  function color(name) {
    const value = getComputedStyle(document.documentElement).getPropertyValue(`--tblr-${name}`).trim();
    const element = document.createElement("span");
    element.style.color = value || name;
    document.body.append(element);
    const resolved = getComputedStyle(element).color;
    element.remove();
    probe.fillStyle = "#000";
    probe.fillStyle = resolved;
    return probe.fillStyle;
  }

  // The same colour, faint: for the area under a line. Not every browser resolves a colour to #rrggbb.
  function veil(shade) {
    return shade.startsWith("#") ? `${shade}22` : `color-mix(in srgb, ${shade} 13%, transparent)`;
  }

  function format(unit, small) {
    const count = new Intl.NumberFormat(language, { maximumFractionDigits: small ? 6 : 2 });
    const money = { usd: "$", cny: "¥" }[unit];
    if (money) {
      const two = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: small ? 6 : 2 });
      return (value) => money + two.format(value);
    }
    return (value) => count.format(value) + (unit === "flows" && small ? " Flows" : "");
  }

  function describe(canvas, spec) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of ["", ...spec.series.map((one) => one.name)]) {
      const cell = document.createElement(text ? "th" : "td");
      cell.textContent = text;
      head.append(cell);
    }
    const body = table.createTBody();
    spec.labels.forEach((name, index) => {
      const row = body.insertRow();
      for (const text of [name, ...spec.series.map((one) => one.data[index])]) row.insertCell().textContent = text;
    });
    canvas.replaceChildren(table);
  }

  function draw(canvas) {
    const source = document.getElementById(canvas.dataset.chart);
    if (!source || !window.Chart) return;
    const spec = JSON.parse(source.textContent);
    const ink = color("secondary");
    const grid = color("border-color");
    const bars = spec.type !== "line";
    const axis = format(spec.unit, false);
    const exact = format(spec.unit, true);
    const stacked = spec.stacked ?? (bars && spec.series.length > 1);
    describe(canvas, spec);
    drawn.get(canvas)?.destroy();
    const chart = new window.Chart(canvas, {
      type: bars ? "bar" : "line",
      data: {
        labels: spec.labels,
        datasets: spec.series.map((one, index) => {
          const shade = color(one.color || PALETTE[index % PALETTE.length]);
          return {
            label: one.name,
            data: one.data.map((value) => (value === null ? null : Number(value))),
            backgroundColor: bars ? shade : veil(shade),
            borderColor: shade,
            borderWidth: bars ? 0 : 2,
            borderRadius: bars && !stacked ? 3 : 0,
            maxBarThickness: 36,
            categoryPercentage: 0.86,
            barPercentage: 0.92,
            fill: !bars && spec.series.length === 1,
            pointRadius: 0,
            pointHoverRadius: 4,
            tension: 0.25,
            stepped: spec.stepped || false,
          };
        }),
      },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        interaction: { mode: "index", intersect: false },
        locale: language,
        plugins: {
          legend: {
            display: spec.legend ?? spec.series.length > 1,
            position: "bottom",
            align: "start",
            labels: { color: ink, boxWidth: 8, boxHeight: 8, usePointStyle: true, pointStyle: "circle", padding: 14 },
          },
          tooltip: {
            usePointStyle: true,
            boxPadding: 4,
            itemSort: (a, b) => b.parsed.y - a.parsed.y,
            filter: (item) => spec.series.length === 1 || item.parsed.y !== 0,
            callbacks: {
              label: (item) => ` ${item.dataset.label}: ${exact(item.parsed.y)}`,
              footer: (items) => (stacked && items.length > 1 ? `Σ ${exact(items.reduce((sum, item) => sum + item.parsed.y, 0))}` : ""),
            },
          },
        },
        scales: {
          x: {
            stacked,
            border: { color: grid },
            grid: { display: false },
            ticks: { color: ink, maxRotation: 0, autoSkipPadding: 16, font: { size: 11 } },
          },
          y: {
            stacked,
            beginAtZero: spec.zero ?? true,
            border: { display: false },
            grid: { color: grid },
            ticks: { color: ink, maxTicksLimit: 5, font: { size: 11 }, callback: (value) => axis(value) },
          },
        },
      },
    });
    drawn.set(canvas, chart);
  }

  function drawAll(root) {
    if (window.Chart) window.Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    for (const canvas of root.querySelectorAll("canvas[data-chart]")) draw(canvas);
  }

  drawAll(document);
  document.documentElement.addEventListener("themechange", () => drawAll(document));
  document.addEventListener("htmx:afterSettle", (event) => drawAll(event.target));
})();
