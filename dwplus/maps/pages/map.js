"use strict";
// A finished map to look at: classes or confidence on the right of a line, the Sentinel-2 scenes on its left.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const frame = $("frame"), right = $("right"), left = $("left"), lines = $("lines");
const width = data.width, height = data.height;
let scale = 1, x0 = 0, y0 = 0, values = null;

function picture(url) {
  return new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = url;
  });
}
function paint() {
  const context = right.getContext("2d"), out = context.createImageData(width, height);
  const layer = $("layer").value;
  for (let i = 0; i < width * height; i++) {
    const value = values[4 * i], sure = values[4 * i + 1];
    if (value === 255) continue;
    const colour = layer === "class" ? data.classes[value].rgb : data.ramp[sure];
    out.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
  }
  context.putImageData(out, 0, 0);
  $("key").hidden = layer === "class";
}
function outline() {
  const context = lines.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (!$("blocks").checked) return;
  context.strokeStyle = "#000a";
  context.lineWidth = Math.max(1, 1 / scale);
  for (const block of data.blocks) {
    context.beginPath();
    block.corners.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
    context.closePath();
    context.stroke();
  }
}
function place() {
  for (const canvas of [right, left, lines]) canvas.style.transform = `translate(${x0}px,${y0}px) scale(${scale})`;
  const at = frame.clientWidth * Number($("swipe").value) / 100;
  const cut = Math.max(0, Math.min(width, (at - x0) / scale));
  left.style.clipPath = `inset(0 ${width - cut}px 0 0)`;
  $("edge").style.left = at - 1 + "px";
}
function fit() {
  scale = Math.min(frame.clientWidth / width, frame.clientHeight / height) * 0.96;
  x0 = (frame.clientWidth - width * scale) / 2;
  y0 = (frame.clientHeight - height * scale) / 2;
  place();
}
function zoom(factor, x, y) {
  factor = Math.max(0.05, Math.min(40, scale * factor)) / scale;
  x0 = x - (x - x0) * factor;
  y0 = y - (y - y0) * factor;
  scale *= factor;
  place();
}
function inside(block, x, y) {
  let odd = false;
  const c = block.corners;
  for (let i = 0, j = c.length - 1; i < c.length; j = i++) {
    if ((c[i][1] > y) !== (c[j][1] > y) && x < (c[j][0] - c[i][0]) * (y - c[i][1]) / (c[j][1] - c[i][1]) + c[i][0]) odd = !odd;
  }
  return odd;
}
function tell(event) {
  const box = frame.getBoundingClientRect();
  const x = (event.clientX - box.left - x0) / scale, y = (event.clientY - box.top - y0) / scale;
  const i = Math.floor(y) * width + Math.floor(x);
  if (x < 0 || y < 0 || x >= width || y >= height) { $("words").textContent = data.hint; return; }
  const value = values[4 * i];
  const block = data.blocks.find(one => inside(one, x, y));
  const what = value === 255 ? "no data" : data.classes[value].name.replaceAll("_", " ") + ", " + values[4 * i + 1] + " % sure";
  $("words").textContent = what + (block ? " · " + block.words : "");
}

const held = new Map();
frame.addEventListener("pointerdown", event => { held.set(event.pointerId, event); frame.setPointerCapture(event.pointerId); });
frame.addEventListener("pointermove", event => {
  const before = held.get(event.pointerId);
  if (before && held.size === 1) { x0 += event.clientX - before.clientX; y0 += event.clientY - before.clientY; place(); }
  if (before) held.set(event.pointerId, event); else if (values) tell(event);
});
for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, event => held.delete(event.pointerId));
frame.addEventListener("wheel", event => {
  event.preventDefault();
  const box = frame.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
}, {passive: false});
$("swipe").addEventListener("input", place);
$("layer").addEventListener("change", paint);
$("blocks").addEventListener("change", outline);
$("in").addEventListener("click", () => zoom(1.5, frame.clientWidth / 2, frame.clientHeight / 2));
$("out").addEventListener("click", () => zoom(1 / 1.5, frame.clientWidth / 2, frame.clientHeight / 2));
$("fit").addEventListener("click", fit);
window.addEventListener("resize", place);
$("ramp").style.background = "linear-gradient(to right," + data.ramp.filter((_, i) => i % 10 === 0).map(c => `rgb(${c})`).join(",") + ")";
for (const canvas of [right, left, lines]) { canvas.width = width; canvas.height = height; }
$("words").textContent = data.hint;
Promise.all([picture(data.values), data.scene ? picture(data.scene) : null]).then(([index, scene]) => {
  const context = right.getContext("2d", {willReadFrequently: true});
  context.drawImage(index, 0, 0);
  values = context.getImageData(0, 0, width, height).data;
  if (scene) left.getContext("2d").drawImage(scene, 0, 0, width, height);
  else { $("swipe").value = 0; $("swipe").disabled = true; }
  paint();
  outline();
  fit();
  document.body.dataset.ready = "yes";
});
