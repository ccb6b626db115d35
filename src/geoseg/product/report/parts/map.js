(function () {
  "use strict";
  const map = document.getElementById("map");
  if (!map) return;
  const frame = map.querySelector(".frame"), sheet = map.querySelector(".sheet");
  const picture = sheet.querySelector("img.of-classes"), bar = map.querySelector(".scale");
  const readout = map.querySelector(".readout"), buttons = [...map.querySelectorAll(".legend button")];
  const MOST = 40, STEP = 1.5;
  let z = 1, x = 0, y = 0;

  // One axis: the sheet (laid out at `start`, `length` long) covers the frame, or stands in its middle.
  function held(offset, start, length, room) {
    const long = length * z;
    if (long <= room) return (room - long) / 2 - start;
    return Math.min(-start, Math.max(room - long - start, offset));
  }
  function show() {
    x = held(x, sheet.offsetLeft, sheet.offsetWidth, frame.clientWidth);
    y = held(y, sheet.offsetTop, sheet.offsetHeight, frame.clientHeight);
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${z})`;
    sheet.style.setProperty("--z", z);
    frame.classList.toggle("near", z > 1);
    sheet.classList.toggle("coarse", sheet.offsetWidth * z > picture.naturalWidth);
    if (bar && bar.dataset.metres) scale(Number(bar.dataset.metres) / (sheet.offsetWidth * z));
  }
  function scale(metres) {
    const most = metres * frame.clientWidth / 4, power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((step) => step * power <= most) * power;
    bar.querySelector("i").style.width = `${length / metres}px`;
    bar.querySelector("span").textContent = length >= 1000 ? `${+(length / 1000).toPrecision(3)} km` : `${+length.toPrecision(3)} m`;
    bar.style.width = ""; bar.classList.remove("free");
  }
  function zoom(factor, at) {
    const box = frame.getBoundingClientRect();
    const px = (at ? at.clientX - box.left - frame.clientLeft : frame.clientWidth / 2) - sheet.offsetLeft;
    const py = (at ? at.clientY - box.top - frame.clientTop : frame.clientHeight / 2) - sheet.offsetTop;
    const next = Math.min(MOST, Math.max(1, z * factor));
    x = px - (px - x) * next / z; y = py - (py - y) * next / z; z = next;
    show();
  }
  function reset() { z = 1; x = y = 0; show(); }

  // Where a pointer is: shares of the sheet, across and down; null outside.
  function spot(event) {
    const box = sheet.getBoundingClientRect();
    const u = (event.clientX - box.left) / box.width, v = (event.clientY - box.top) / box.height;
    return u >= 0 && u < 1 && v >= 0 && v < 1 ? [u, v] : null;
  }
  const corners = JSON.parse(map.dataset.corners || "null");
  function degrees(u, v) {
    const mix = (k) => (corners[0][k] * (1 - u) + corners[1][k] * u) * (1 - v) + (corners[2][k] * (1 - u) + corners[3][k] * u) * v;
    const lon = mix(0), lat = mix(1);
    return `${Math.abs(lat).toFixed(4)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(4)}° ${lon < 0 ? "W" : "E"}`;
  }

  // The classes' pixels, read once from the picture itself: a colour is a class.
  let pixels = null;
  function read() {
    if (pixels) return pixels;
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    return pixels;
  }
  const names = new Map();
  for (const button of buttons) {
    const name = button.querySelector(".text").textContent.trim(), color = button.dataset.color;
    names.set(color, names.has(color) ? `${names.get(color)} or ${name}` : name);
  }
  function told(u, v) {
    const { data, width, height } = read(), at = 4 * (Math.floor(v * height) * width + Math.floor(u * width));
    if (!data[at + 3]) return "no data";
    return names.get("#" + [0, 1, 2].map((k) => data[at + k].toString(16).padStart(2, "0")).join("")) || "";
  }
  function point(event) {
    const at = spot(event);
    readout.textContent = at ? [told(...at), corners ? degrees(...at) : ""].filter(Boolean).join(" · ") : "";
  }

  // Chosen classes keep their colour; a veil covers the others.
  const veil = document.createElement("canvas");
  veil.className = "of-classes"; veil.hidden = true;
  picture.after(veil);
  function choose(button) {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    const chosen = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => parseInt(b.dataset.color.slice(1), 16));
    veil.hidden = !chosen.length;
    if (!chosen.length) return;
    const { data, width, height } = read(), keep = new Set(chosen);
    veil.width = width; veil.height = height;
    const context = veil.getContext("2d"), cover = context.createImageData(width, height);
    const shade = getComputedStyle(frame).backgroundColor.match(/\d+/g).map(Number);
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] && !keep.has(data[i] << 16 | data[i + 1] << 8 | data[i + 2])) {
        for (let k = 0; k < 3; k++) cover.data[i + k] = shade[k];
        cover.data[i + 3] = 226;
      }
    }
    context.putImageData(cover, 0, 0);
  }

  const down = new Map();
  frame.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button") || event.button) return;
    down.set(event.pointerId, event); frame.setPointerCapture(event.pointerId); frame.classList.add("held");
  });
  frame.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) { if (event.pointerType === "mouse") point(event); return; }
    if (down.size === 1) { x += event.clientX - before.clientX; y += event.clientY - before.clientY; show(); }
    if (down.size === 2) {
      const other = [...down.values()].find((e) => e.pointerId !== event.pointerId);
      const gap = (e) => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY) || 1;
      zoom(gap(event) / gap(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
    }
    down.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, (event) => {
      if (down.delete(event.pointerId) && event.pointerType !== "mouse" && end === "pointerup") point(event);
      if (!down.size) frame.classList.remove("held");
    });
  }
  frame.addEventListener("pointerleave", () => { readout.textContent = ""; });
  frame.addEventListener("dblclick", (event) => { if (!event.target.closest("button")) zoom(2, event); });
  // The page scrolls over the map as over anything else, until one clicks into it.
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== frame) return;
    event.preventDefault(); zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event);
  }, { passive: false });
  frame.addEventListener("keydown", (event) => {
    if (event.target !== frame || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (move) { if (z === 1) return; x += move[0]; y += move[1]; show(); }
    else if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (event.key === "0" || event.key === "Escape") reset();
    else return;
    event.preventDefault();
  });

  const tools = map.querySelector(".tools"), acts = { in: () => zoom(STEP), out: () => zoom(1 / STEP), all: reset };
  tools.addEventListener("click", (event) => { const act = acts[event.target.dataset.act]; if (act) act(); });
  tools.hidden = false; frame.classList.add("live");
  for (const button of buttons) { button.disabled = false; button.addEventListener("click", () => choose(button)); }
  addEventListener("resize", show);
  addEventListener("beforeprint", reset);
  const ready = picture.decode ? picture.decode().catch(() => {}) : Promise.resolve();
  ready.then(() => { show(); map.dataset.ready = "yes"; });
})();
