// The controls: built once from what the server says they are, then kept at what is shown.

const built = new Map();

export function update(list, moved) {
  const place = document.getElementById("controls");
  for (const one of list) {
    const made = built.get(one.name);
    if (!made || made.kind !== one.kind) {
      const box = (one.kind === "choice" ? choice : number)(one, moved);
      if (made) made.box.replaceWith(box.box);
      else place.append(box.box);
      built.set(one.name, { kind: one.kind, ...box });
    }
    const { box, set } = built.get(one.name);
    box.hidden = Boolean(one.hidden);
    set(one);
  }
}

export function limits(name) {
  return built.get(name).limits();
}

function element(tag, given, ...inside) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

function choice(one, moved) {
  const select = element("select", { id: one.name });
  const reason = element("p", { class: "reason", id: `${one.name}-why` });
  select.setAttribute("aria-describedby", reason.id);
  select.addEventListener("change", () => moved(one.name, select.value));
  const label = element("label", { for: one.name }, one.label);
  const set = (now) => {
    select.replaceChildren(...now.choices.map(([value, title, why]) => {
      const option = element("option", { value }, why ? `${title} (not here)` : title);
      option.disabled = Boolean(why);
      return option;
    }));
    select.value = now.value;
    reason.textContent = now.reason ?? "";
  };
  return { box: element("div", { class: "control" }, label, select, reason), set };
}

function number(one, moved) {
  const steps = one.kind === "steps";
  const box = element("input", { type: "number", id: one.name, step: "any", inputmode: "decimal" });
  const range = element("input", { type: "range", id: `${one.name}-range` });
  const label = element("label", { for: one.name });
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  let now = one;
  const value = () => (steps ? now.steps[range.value] : Number(range.value));
  const say = (text) => range.setAttribute("aria-valuetext", text);
  range.addEventListener("input", () => {
    box.value = value();
    say(box.value);
    moved(now.name, box.value);
  });
  box.addEventListener("change", () => moved(now.name, box.value));
  const set = (given) => {
    now = given;
    label.textContent = now.label;
    range.setAttribute("aria-label", `${now.label}, slider`);
    const shown = steps
      ? { min: 0, max: now.steps.length - 1, step: 1 }
      : { min: now.low, max: now.high, step: now.step };
    for (const [key, limit] of Object.entries(shown)) range.setAttribute(key, limit);
    range.value = steps ? nearest(now.steps, now.value) : now.value;
    say(String(now.value));
    if (document.activeElement !== box || Number(box.value) !== now.value) box.value = now.value;
    if (steps && !ticks.childElementCount) {
      for (const tick of now.ticks) {
        const place = now.steps.indexOf(tick) / (now.steps.length - 1);
        const mark = element("span", {}, String(tick));
        mark.style.setProperty("--at", place);
        ticks.append(mark);
      }
    }
  };
  const parts = steps ? [label, box, range, ticks] : [label, box, range];
  return { box: element("div", { class: `control ${one.kind}` }, ...parts), set,
    limits: () => [now.low, now.high] };
}

// where a number stands among the steps, as their logarithms lie
function nearest(steps, value) {
  const far = steps.map((step) => Math.abs(Math.log(step / value)));
  return far.indexOf(Math.min(...far));
}
