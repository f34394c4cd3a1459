"use strict";
// One sample, labelled by one person. Labels are kept in the browser as they are made and saved to a file on demand.
const data = JSON.parse(document.getElementById("data").textContent);
const points = data.points, classes = data.classes, sides = data.sides;
const place = "dwplus-sample-" + data.key;
// Keys of classes beyond the ninth; s saves.
const letters = "abcdefghijklmnopqrtuvwxyz";
const $ = id => document.getElementById(id);
let now = 0;
let kept = {who: "", labels: {}};
try { kept = JSON.parse(localStorage.getItem(place)) || kept; } catch (error) { /* private windows have no store */ }

function label(point) { return kept.labels[point.id] || (kept.labels[point.id] = {given: [], sure: "", note: ""}); }
function whole(point) {
  const given = (kept.labels[point.id] || {given: []}).given;
  if (given.includes(data.cannot)) return data.cannot;
  if (sides.some((_, side) => !given[side])) return "";
  return sides.length === 1 || given[0] === given[1] ? given[0] : given[0] + " to " + given[1];
}
function keep() {
  kept.who = $("who").value.trim();
  try { localStorage.setItem(place, JSON.stringify(kept)); } catch (error) { /* the file is what counts */ }
}
function say(text) { $("said").textContent = text; }

function show() {
  const point = points[now], mine = kept.labels[point.id] || {given: [], sure: "", note: ""};
  $("title").textContent = "Point " + point.id + " (" + (now + 1) + " of " + points.length + ")";
  $("where").textContent = point.lat.toFixed(5) + ", " + point.lon.toFixed(5);
  $("pictures").replaceChildren(...point.pictures.map(picture => {
    const figure = document.createElement("figure"), shot = document.createElement("div");
    shot.className = "shot";
    if (picture.src) {
      const image = document.createElement("img");
      image.src = picture.src;
      image.alt = picture.words;
      const mark = document.createElement("i");
      mark.style.width = mark.style.height = picture.mark + "%";
      shot.append(image, mark);
    }
    const words = document.createElement("figcaption");
    words.textContent = picture.words;
    figure.append(shot, words);
    return figure;
  }));
  for (const button of document.querySelectorAll("button.class")) {
    const given = mine.given.includes(data.cannot) ? data.cannot : mine.given[Number(button.dataset.side)];
    button.setAttribute("aria-pressed", String(given === button.dataset.name));
  }
  $("sure").value = mine.sure;
  $("note").value = mine.note;
  const done = points.filter(one => whole(one)).length;
  $("done").value = done;
  $("count").textContent = done + " of " + points.length + " labelled";
}

function go(step) { now = Math.max(0, Math.min(points.length - 1, now + step)); show(); }
function open_one() {
  for (let step = 1; step <= points.length; step++) {
    const next = (now + step) % points.length;
    if (!whole(points[next])) { now = next; show(); return; }
  }
  say("All points are labelled: save the file.");
  show();
}
function give(name, side) {
  const mine = label(points[now]);
  if (mine.given.includes(data.cannot)) mine.given = [];
  if (name === data.cannot) mine.given = [data.cannot]; else mine.given[side] = name;
  keep();
  show();
  if (whole(points[now])) open_one();
}

function cell(value) {
  // What a spreadsheet would take for a formula gets an apostrophe in front, as in all our sheets; numbers stay.
  const text = String(value).replace(/^(?=[=+\-@\t\r\n'])(?![+-]?[\d.]+(e[+-]?\d+)?$)/i, "'");
  return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
function table() {
  const columns = [...data.columns, "interpreter", "sure", "note"];
  const rows = points.map(point => {
    const mine = kept.labels[point.id] || {sure: "", note: ""};
    const more = {reference: whole(point), interpreter: kept.who, sure: mine.sure, note: mine.note};
    return columns.map(name => cell(name in more ? more[name] : point.row[name])).join(",");
  });
  return [columns.join(","), ...rows].join("\r\n") + "\r\n";
}
function save() {
  keep();
  if (!kept.who) { say("Say who you are first: files of several people are told apart by it."); $("who").focus(); return; }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], {type: "text/csv"}));
  link.download = data.stem + "." + kept.who.replace(/[^\w-]+/g, "_") + ".csv";
  document.body.append(link);
  link.click();
  link.remove();
  const open = points.filter(one => !whole(one)).length;
  say("Saved as " + link.download + (open ? "; " + open + " points are still open." : "."));
}

function parse(text) {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i], row = rows[rows.length - 1];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { row[row.length - 1] += c; i++; }
      else if (c === '"') quoted = false;
      else row[row.length - 1] += c;
    } else if (c === '"') quoted = true;
    else if (c === ",") row.push("");
    else if (c === "\n") rows.push([""]);
    else if (c !== "\r") row[row.length - 1] += c;
  }
  return rows.filter(row => row.length > 1).map(row => row.map(text => text.replace(/^'(?=[=+\-@\t\r\n'])/, "")));
}
async function load(file) {
  const [head, ...rows] = parse(await file.text());
  const at = name => head.indexOf(name);
  if (at("id") < 0 || at("reference") < 0) { say("This file has no columns id and reference."); return; }
  let count = 0;
  const known = new Set(points.map(point => point.id));
  for (const row of rows) {
    const said = row[at("reference")];
    if (!said || !known.has(row[at("id")])) continue;
    const parts = said.split(" to ");
    kept.labels[row[at("id")]] = {given: said === data.cannot ? [said] : sides.map((_, s) => parts[s] || parts[0]),
      sure: at("sure") < 0 ? "" : row[at("sure")], note: at("note") < 0 ? "" : row[at("note")]};
    count++;
  }
  if (at("interpreter") >= 0 && rows.length) $("who").value = rows[0][at("interpreter")];
  keep();
  open_one();
  say(count + " labels read.");
}

sides.forEach((side, number) => {
  const row = document.createElement("div");
  row.className = "row";
  if (side) { const words = document.createElement("b"); words.textContent = side; row.append(words); }
  classes.forEach((one, index) => {
    const button = document.createElement("button"), colour = document.createElement("i"), key = document.createElement("kbd");
    button.className = "class";
    button.type = "button";
    button.dataset.name = one.name;
    button.dataset.side = number;
    colour.style.background = one.colour;
    key.textContent = (number ? "⇧" : "") + (index < 9 ? index + 1 : letters[index - 9] || "");
    button.append(colour, one.name.replaceAll("_", " "), key);
    button.addEventListener("click", () => give(one.name, number));
    row.append(button);
  });
  $("classes").append(row);
});
{
  const button = document.createElement("button"), key = document.createElement("kbd");
  button.className = "class";
  button.type = "button";
  button.dataset.name = data.cannot;
  button.dataset.side = 0;
  key.textContent = "0";
  button.append(data.cannot, key);
  button.addEventListener("click", () => give(data.cannot, 0));
  $("classes").append(button);
}
$("back").addEventListener("click", () => go(-1));
$("next").addEventListener("click", () => go(1));
$("open").addEventListener("click", open_one);
$("save").addEventListener("click", save);
$("file").addEventListener("change", event => event.target.files[0] && load(event.target.files[0]));
$("who").value = kept.who;
$("who").addEventListener("input", keep);
$("sure").addEventListener("change", event => { label(points[now]).sure = event.target.value; keep(); });
$("note").addEventListener("input", event => { label(points[now]).note = event.target.value; keep(); });
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  if (digit) {
    const number = Number(digit[1]);
    if (number === 0) give(data.cannot, 0);
    else if (classes[number - 1]) give(classes[number - 1].name, sides.length > 1 && event.shiftKey ? 1 : 0);
  } else if (event.key.length === 1 && letters.includes(event.key.toLowerCase())
             && classes[9 + letters.indexOf(event.key.toLowerCase())]) {
    give(classes[9 + letters.indexOf(event.key.toLowerCase())].name, sides.length > 1 && event.shiftKey ? 1 : 0);
  } else if (event.key === "ArrowLeft") go(-1);
  else if (event.key === "ArrowRight") go(1);
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON") open_one();
  else if (event.key.toLowerCase() === "s") save();
  else return;
  event.preventDefault();
});
window.addEventListener("beforeunload", keep);
$("done").max = points.length;
now = Math.max(0, points.findIndex(one => !whole(one)));
show();
