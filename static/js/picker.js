// A long list of boxes that a search field narrows: [data-picker] around [data-picker-search], groups and items.
// Ticking a box while "all" is chosen chooses "only these".
(() => {
  for (const picker of document.querySelectorAll("[data-picker]")) {
    const search = picker.querySelector("[data-picker-search]");
    const radio = (value) => picker.closest("form").querySelector(`[name=which][value=${value}]`);
    const sync = () => picker.classList.toggle("is-off", Boolean(radio("all")?.checked));
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const group of picker.querySelectorAll("[data-picker-group]")) {
        let any = false;
        for (const item of group.querySelectorAll("[data-picker-item]")) {
          const text = item.dataset.pickerItem.toLowerCase();
          item.hidden = !words.every((word) => text.includes(word));
          any ||= !item.hidden;
        }
        group.hidden = !any;
      }
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
    picker.addEventListener("change", (event) => {
      if (event.target.checked && radio("some")) radio("some").checked = true;
      sync();
    });
    for (const one of picker.closest("form").querySelectorAll("[name=which]")) one.addEventListener("change", sync);
    sync();
  }
})();
