// The page "Try it": shows the picture of the chosen setting. make_try.py draws them.
const at = (name) => new URL(`try/${name}`, import.meta.url).href;
const by = (id) => document.getElementById(`try-${id}`);
const percent = (share) => `${Math.round(100 * share)}%`;

function element(tag, kind, text = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function name(policy, alphas, alpha, step) {
  const words = [policy.toLowerCase().replaceAll(" ", "-"), ...(alphas.length ? [alpha] : []), step];
  return words.join("-");
}

function labels(rows) {
  by("labels").replaceChildren(...rows.map((parts) => {
    const one = element("div", "label");
    const bar = element("div", "bar");
    bar.setAttribute("aria-hidden", "true");
    for (const [, share, whose] of parts) {
      const piece = element("i", whose);
      piece.style.width = percent(share);
      bar.append(piece);
    }
    one.append(bar, ...parts.map(([title, share, whose]) =>
      element("span", whose, `${title} ${percent(share)}`)));
    return one;
  }));
}

function show(made) {
  const policy = by("policy").value;
  const alphas = made.policies[policy];
  const alpha = alphas[by("alpha").value];
  const step = by("step").value;
  const shown = name(policy, alphas, alpha, step);
  const view = made.views[shown];
  const words = view.parts.map((parts, row) => {
    const shares = parts.map(([title, share]) => `${title} ${percent(share)}`).join(", ");
    return `row ${row + 1}: ${shares}`;
  });
  const called = `${policy}${alphas.length ? ` with alpha ${alpha}` : ""}, step ${step}`;
  by("alpha").closest(".alpha").hidden = !alphas.length;
  for (const [id, text] of [["alpha", alpha], ["step", step]]) {
    by(id).setAttribute("aria-valuetext", String(text));
    by(id).closest(".slider").querySelector("output").textContent = text;
  }
  by("mixed").src = at(`${shown}.webp`);
  by("mixed").alt = `The rows mixed by ${called}. ${words.join("; ")}.`;
  by("partners").src = at(`partners-${step}.webp`);
  by("partners").alt = `The partners of the rows: ${view.partners.join(", ")}.`;
  by("rows").alt = `The rows: ${made.rows.join(", ")}.`;
  by("said").textContent = `${called}.`;
  by("code").querySelector("code").textContent = view.code;
  labels(view.parts);
}

const answer = await fetch(at("settings.json"));
if (answer.ok) {
  const made = await answer.json();
  by("policy").replaceChildren(...Object.keys(made.policies).map((title) => new Option(title)));
  const alphas = Object.values(made.policies)[0];
  by("alpha").max = alphas.length - 1;
  by("alpha").value = alphas.indexOf(1);
  by("step").max = made.steps - 1;
  by("alpha").nextElementSibling.replaceChildren(...alphas.map((one) => element("span", "", one)));
  for (const id of ["policy", "alpha", "step"]) by(id).addEventListener("input", () => show(made));
  document.querySelector("#try .controls").hidden = false;
  show(made);
} else {
  by("said").textContent = "The settings did not load. This is CutMix with alpha 1.";
}
