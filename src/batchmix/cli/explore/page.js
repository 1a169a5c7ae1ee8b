// The page: each move asks the server for the view, one at a time, and shows what comes.
import { limits, update } from "./controls.js";
import { take } from "./own.js";

const by = (id) => document.getElementById(id);
const PAUSE = 900; // ms between steps that play
const SILENT = "The server does not answer. Start batchmix explore again.";
let now = new URLSearchParams(location.search); // the settings
let wanted = ""; // the control that was moved since the last question
let waiting = true; // whether there is anything to ask
let busy = false;
let own = null;
let said = ""; // what the page itself has to say
let timer = 0;

function moved(name, value) {
  stop();
  said = "";
  change(name, value);
}

function change(name, value) {
  now.set(name, value);
  wanted = name;
  ask();
}

async function ask() {
  waiting = true;
  if (busy) return;
  busy = true;
  while (waiting) {
    waiting = false;
    const query = new URLSearchParams(now);
    if (wanted) query.set("moved", wanted);
    try {
      const answer = await fetch(`show?${query}`);
      const text = await answer.text();
      if (answer.ok) show(JSON.parse(text));
      else if (answer.status === 429) await later(500);
      else refuse(answer.status === 400 ? JSON.parse(text).wrong : text);
      if (answer.status === 429) waiting = true;
    } catch {
      refuse(SILENT);
    }
  }
  busy = false;
}

function show(made) {
  own = made.own;
  by("cards").innerHTML = made.cards;
  by("spread").innerHTML = made.spread;
  by("legend").innerHTML = made.legend;
  if (waiting) return; // the controls are moving on
  now = new URLSearchParams(made.query);
  wanted = "";
  const link = `${location.pathname}${made.query ? `?${made.query}` : ""}`;
  history.replaceState(null, "", link);
  update(made.controls, moved);
  notes(made.notes);
  text("code", made.code);
  text("command", made.command);
  text("link", location.href);
  for (const [id, kind] of [["png", "png"], ["plan", "plan"], ["rows-file", "rows"],
    ["code-file", "code"]]) by(id).href = `file?kind=${kind}${made.query ? `&${made.query}` : ""}`;
  document.body.dataset.ready = "yes";
  if (timer) {
    clearTimeout(timer);
    timer = setTimeout(next, PAUSE);
  }
}

function notes(list) {
  const all = said ? [said, ...list] : list;
  by("notes").replaceChildren(...all.map((one) => {
    const line = document.createElement("p");
    line.className = "note";
    line.textContent = one;
    return line;
  }));
}

function refuse(why) {
  stop();
  notes([why]);
  for (const id of ["cards", "spread", "legend"]) by(id).replaceChildren();
  for (const id of ["code", "command"]) text(id, "");
  document.body.dataset.ready = "yes";
}

function tell(why) {
  said = why;
  notes([]);
}

function text(id, content) {
  by(id).hidden = !content;
  by(id).querySelector("pre").textContent = content;
}

function later(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

// Steps play one after the other, each after the last was shown, and end at the last.
function play() {
  const [low, high] = limits("step");
  const step = Number(now.get("step") ?? 0);
  timer = setTimeout(next, step >= high ? PAUSE : 0);
  by("play").textContent = "Pause";
  by("play").setAttribute("aria-pressed", "true");
  if (step >= high) change("step", low);
}

function next() {
  const step = Number(now.get("step") ?? 0) + 1;
  if (step > limits("step")[1] || document.hidden) stop();
  else change("step", step);
}

function stop() {
  clearTimeout(timer);
  timer = 0;
  by("play").textContent = "Play steps";
  by("play").setAttribute("aria-pressed", "false");
}

function given(files) {
  stop();
  const opened = (data, count) => {
    now.set("rows", count); // all of them are seen
    now.delete("first");
    moved("data", data);
  };
  take(files, own, tell, opened).catch(() => tell(SILENT));
}

async function copy(event) {
  const block = event.target.closest("section").querySelector("pre");
  try {
    await navigator.clipboard.writeText(block.textContent);
    event.target.textContent = "Copied";
    setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
  } catch { // without https, at another address, the browser lends no clipboard
    getSelection().selectAllChildren(block);
  }
}

by("play").addEventListener("click", () => (timer ? stop() : play()));
by("reset").addEventListener("click", () => {
  stop();
  said = "";
  const data = now.get("data");
  now = new URLSearchParams(data ? { data } : {});
  wanted = "";
  ask();
});
by("files").addEventListener("change", (event) => {
  given([...event.target.files]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) given([...event.clipboardData.files]);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  given([...event.dataTransfer.files]);
});
by("cards").addEventListener("click", (event) => {
  const button = event.target.closest(".larger");
  if (!button) return;
  const large = button.closest(".card").classList.toggle("large");
  button.setAttribute("aria-pressed", String(large));
});
for (const button of document.querySelectorAll(".text button")) {
  button.addEventListener("click", copy);
}
if (matchMedia("(max-width: 760px)").matches) by("settings").open = false;
ask();
