// A long list of boxes that a search field narrows: [data-picker] around [data-picker-search], groups and items.
// It shows once "only these" is chosen. [data-only-if="name=value"] shows while the form's field has that value.
(() => {
  for (const part of document.querySelectorAll("[data-only-if]")) {
    const [name, value] = part.dataset.onlyIf.split("=");
    const field = part.closest("form").elements[name];
    const show = () => (part.hidden = field.value !== value);
    field.addEventListener("change", show);
    show();
  }

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
    for (const one of picker.closest("form").querySelectorAll("[name=which]")) one.addEventListener("change", sync);
    sync();
  }
})();
