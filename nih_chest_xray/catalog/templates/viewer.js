// The viewer: a dialog that shows an example's picture, and turns to the next one of a list.
const makeViewer = (examples, linkTo, changed) => {
  const byId = (id) => document.getElementById(id);
  const dialog = byId("viewer"), stage = byId("viewer-stage"), tools = byId("viewer-tools");
  const [boxes, pair, zoom, brightness, contrast] =
    ["boxes", "pair", "zoom", "brightness", "contrast"].map((name) => byId(`viewer-${name}`));
  const rowOf = new Map(Array.from({ length: examples.rows }, (_, row) => [examples.value("image_name", row), row]));
  const sourceOf = (name) => name.replace(/_aug\d+(?=\.png$)/, "");
  const copies = new Map();
  for (const name of rowOf.keys()) {
    const source = sourceOf(name);
    if (name !== source && !copies.has(source)) copies.set(source, name);
  }
  let names = [], at = 0;

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  const words = (text) => text.replaceAll("_", " ").replaceAll("|", ", ");

  // The other half of a pair, source or copy, if it has a picture too.
  const otherOf = (name) => {
    const source = sourceOf(name);
    if (name === source) return copies.get(name);
    return rowOf.has(source) ? source : undefined;
  };

  const draw = (name) => {
    const row = rowOf.get(name);
    const figure = make("figure"), picture = make("div", "", "picture"), image = make("img");
    image.src = examples.value("file", row);
    image.alt = examples.value("alt", row);
    image.addEventListener("load", resize);  // Before, its size is not known.
    picture.append(image);
    for (const [finding, ...place] of JSON.parse(examples.value("boxes", row))) {
      const box = make("span", "", "box");
      const [left, top, width, height] = place.map((pixels) => `${(100 * pixels) / 320}%`);
      Object.assign(box.style, { left, top, width, height });
      box.append(make("span", words(finding)));
      picture.append(box);
    }
    const copied = name === sourceOf(name) ? "" : `, ${words(examples.value("augmentation", row))}`;
    figure.append(picture, make("figcaption", name + copied, "file"));
    return figure;
  };

  const resize = () => {
    const scale = Number(zoom.value);
    for (const image of stage.querySelectorAll("img")) {
      image.style.width = scale && image.naturalWidth ? `${scale * image.naturalWidth}px` : "";
    }
    stage.classList.toggle("natural", scale > 0);
  };

  const adjust = () => {
    stage.classList.toggle("unboxed", !boxes.checked);
    for (const image of stage.querySelectorAll("img")) {
      image.style.filter = `brightness(${brightness.value}%) contrast(${contrast.value}%)`;
    }
    resize();
  };

  const show = () => {
    const name = names[at], row = rowOf.get(name), other = otherOf(name);
    const value = (column) => examples.value(column, row);
    const shown = other && pair.checked ? [name, other].sort((a, b) => a.length - b.length) : [name];
    stage.replaceChildren(...shown.map(draw));
    stage.classList.toggle("two", shown.length > 1);
    pair.parentNode.hidden = !other;
    byId("viewer-title").textContent = `${words(value("label"))} (${at + 1} of ${names.length})`;
    const lines = [make("p", name, "file"), make("p", value("details"))];
    if (value("findings") !== value("label")) lines.push(make("p", `Findings: ${words(value("findings"))}`));
    const found = JSON.parse(value("boxes")).map(([finding]) => words(finding));
    const number = found.length > 1 ? `${found.length} boxes` : "Box";
    if (found.length) lines.push(make("p", `${number} around ${[...new Set(found)].join(", ")}`));
    const told = shown.map((each) => examples.value("is_stored", rowOf.get(each)) === "True");
    const kind = told.every(Boolean)
      ? "Stored pixels."
      : "WebP, lossy, of at most 512 pixels a side: the stored pixels are in the records.";
    lines.push(make("p", kind, "kind"));
    const links = make("p", "", "links");
    for (const [text, target] of [["Link to this example", linkTo(name)], ["Picture alone", value("file")]]) {
      const link = make("a", text);
      link.href = target;
      links.append(link, " ");
    }
    byId("viewer-text").replaceChildren(...lines, links);
    adjust();
    changed(name);
  };

  const turn = (by) => {
    at = (at + by + names.length) % names.length;
    show();
  };

  byId("viewer-before").addEventListener("click", () => turn(-1));
  byId("viewer-after").addEventListener("click", () => turn(1));
  byId("viewer-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    // These use the arrows themselves.
    if (event.target.matches("select, [type=range]") || (event.target === stage && zoom.value)) return;
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
  pair.addEventListener("change", show);
  tools.addEventListener("input", adjust);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(show));
  dialog.addEventListener("close", () => changed(null, names[at]));

  return {
    has: (name) => rowOf.has(name),
    get open() { return dialog.open; },
    close: () => dialog.close(),
    // Shows one of some examples; the arrows turn to the others.
    show(name, among) {
      names = among.includes(name) ? among : [name];
      at = names.indexOf(name);
      show();
      if (!dialog.open) dialog.showModal();
    },
  };
};
