// The browser: filters examples by the page's hash, and shows them as pictures or as a table.
//
// The hash is #key=value&key=value. Filters: subset, class, finding, sex, view, augmentation, age (40-59, 40-, -59 or
// unknown) and search (an image name or its beginning, or a patient's number). Besides: show=table, sort (a column, or
// -column for descending), page, and example=<image name>, which the viewer shows.
{
  const byId = (id) => document.getElementById(id);
  const browser = byId("browser"), form = byId("filter-form"), count = byId("browse-count"), thumbs = byId("thumbs");
  const ACROSS = 10, BATCH = 60, PAGE = 50, LONG = 30;
  const words = (text) => text.replaceAll("_", " ").replaceAll("|", ", ");
  const number = (value) => value.toLocaleString("en");

  const exactly = (wanted) => (value) => value === wanted;
  const among = (wanted) => (value) => value.split("|").includes(wanted);
  const within = (wanted) => {
    if (wanted === "unknown") return (value) => Number(value) < 0;
    const [from, to] = wanted.split("-");
    return (value) => Number(value) >= Number(from || 0) && Number(value) <= Number(to || 999);
  };
  // A few digits are a patient's number, anything else the beginning of a name.
  const searched = (wanted) => (/^\d{1,7}$/.test(wanted)
    ? ["patient_id", (value) => Number(value) === Number(wanted)]
    : ["image_name", (value) => value.startsWith(wanted)]);
  const FILTERS = {
    subset: (wanted) => ["subset", exactly(wanted)],
    class: (wanted) => ["label", among(wanted)],
    finding: (wanted) => ["findings", among(wanted)],
    sex: (wanted) => ["patient_sex", exactly(wanted)],
    view: (wanted) => ["view_position", exactly(wanted)],
    augmentation: (wanted) => ["augmentation", exactly(wanted)],
    age: (wanted) => ["patient_age", within(wanted)],
    search: (wanted) => searched(wanted.trim()),
  };
  const KEYS = [...Object.keys(FILTERS), "show", "sort", "page", "example"];

  let state = new Map(), examples, rows, numeric, viewer, opener, found = [], shown = 0;

  const hashOf = (wanted) => {
    const pairs = KEYS.filter((key) => wanted.get(key)).map((key) => `${key}=${encodeURIComponent(wanted.get(key))}`);
    return `#${pairs.join("&")}`;
  };
  const remember = () => history.replaceState(null, "", state.size ? hashOf(state) : location.pathname + location.search);
  const set = (key, value) => { if (value) state.set(key, value); else state.delete(key); };
  const tests = () => Object.keys(FILTERS).filter((key) => state.has(key)).map((key) => FILTERS[key](state.get(key)));

  // What the hash says. One that leads to a heading of the page says nothing.
  const readHash = () => {
    const said = new URLSearchParams(location.hash.slice(1));
    state = new Map(KEYS.filter((key) => said.get(key)).map((key) => [key, said.get(key)]));
    // Where an example may have several classes, these are findings.
    if (state.has("class") && !form.elements.class) {
      set("finding", state.get("class"));
      state.delete("class");
    }
    for (const key of Object.keys(FILTERS)) {
      const control = form.elements[key];
      if (control) control.value = state.get(key) ?? "";
    }
    const [from, to] = (state.get("age") ?? "").split("-");
    form.elements["age-from"].value = from;
    form.elements["age-to"].value = to ?? "";
  };

  const readForm = () => {
    for (const key of Object.keys(FILTERS)) {
      const control = form.elements[key];
      if (control) set(key, control.value);
    }
    const [from, to] = ["age-from", "age-to"].map((name) => form.elements[name].value);
    if (from || to) set("age", `${from}-${to}`);
    else if (state.get("age") !== "unknown") state.delete("age");  // Which no field can say.
    state.delete("page");
  };

  const changeFilters = () => {
    readForm();
    remember();
    if (examples) refresh();
  };

  const linkTo = (name) => hashOf(new Map([...[...state].filter(([key]) => key in FILTERS), ["example", name]]));
  const picturesFound = () => found.map((row) => examples.value("image_name", row));

  const open = (name, others) => {
    if (viewer.has(name)) {
      viewer.show(name, others);
      return;
    }
    state = new Map([["search", name], ["show", "table"]]);
    remember();
    readHash();
    refresh();
    browser.scrollIntoView();
  };

  const nameOf = (link) => link.dataset.browsed ?? link.dataset.example;

  // Has a link open the viewer, which turns to other examples then.
  const linked = (link, others) => {
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !viewer) return;
      event.preventDefault();
      opener = link;
      viewer.show(nameOf(link), others());
    });
  };

  const thumb = (row) => {
    const value = (name) => examples.value(name, row);
    const item = document.createElement("li"), link = document.createElement("a"), tile = document.createElement("span");
    const sheet = Math.floor(row / ACROSS ** 2), [down, across] = [Math.floor((row % ACROSS ** 2) / ACROSS), row % ACROSS];
    tile.className = "tile";
    tile.style.backgroundImage = `url("examples/sheet-${String(sheet).padStart(2, "0")}.webp")`;
    tile.style.backgroundPosition = [across, down].map((place) => `${(100 * place) / (ACROSS - 1)}%`).join(" ");
    link.append(tile);
    const copied = value("augmentation") === "none" ? "" : `, ${words(value("augmentation"))}`;
    const age = Number(value("patient_age")) < 0 ? "" : ` ${value("patient_age")}`;
    const facts = `${value("subset")}, ${value("view_position")}, ${value("patient_sex")}${age}`;
    for (const [text, name] of [[words(value("label")), "label"], [facts, "also"], [value("image_name") + copied, "unseen"]]) {
      const line = document.createElement("span");
      line.className = name;
      line.textContent = text;
      link.append(line);
    }
    link.href = linkTo(value("image_name"));
    link.dataset.browsed = value("image_name");
    linked(link, picturesFound);
    item.append(link);
    return item;
  };

  const showMore = () => {
    thumbs.append(...found.slice(shown, shown + BATCH).map(thumb));
    shown = Math.min(found.length, shown + BATCH);
    byId("thumbs-more").hidden = shown === found.length;
    const of = state.size && tests().length ? ` of ${number(examples.rows)}` : "";
    count.textContent = found.length
      ? `${number(found.length)}${of} ${examples.rows === 1 ? "picture" : "pictures"}${shown < found.length ? `, the first ${number(shown)} shown` : ""}.`
      : `None of the ${number(examples.rows)} pictures fits. The table has all examples.`;
  };

  const showPictures = () => {
    found = examples.matching(tests());
    thumbs.replaceChildren();
    shown = 0;
    showMore();
  };

  const cell = (tag, content) => {
    const made = document.createElement(tag);
    made.append(content);
    return made;
  };

  // Several findings may take several lines.
  const lines = (text) => {
    const made = document.createDocumentFragment();
    text.split("|").forEach((part, place) => made.append(...(place ? ["|", document.createElement("wbr"), part] : [part])));
    return made;
  };

  const showTable = async () => {
    if (!rows) {
      count.textContent = "Loading the table.";
      try {
        rows = await loadTable("rows");
        numeric = new Set(rows.names.filter((name) => rows.columns[name].values.every((value) => value && !Number.isNaN(Number(value)))));
      } catch (error) {
        count.textContent = `The table is not there: ${error.message}.`;
        return;
      }
    }
    const sort = state.get("sort") ?? "", column = sort.replace(/^-/, ""), sign = sort.startsWith("-") ? -1 : 1;
    const listed = rows.matching(tests());
    if (rows.names.includes(column)) listed.sort((a, b) => sign * (rows.code(column, a) - rows.code(column, b)) || a - b);
    const last = Math.max(1, Math.ceil(listed.length / PAGE));
    const page = Math.min(last, Math.max(1, Math.round(Number(state.get("page")) || 1)));
    const head = rows.names.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.sort = name;
      button.textContent = words(name);
      const made = cell("th", button);
      made.scope = "col";
      if (numeric.has(name)) made.className = "number";
      if (name === column) made.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      return made;
    });
    const focused = document.activeElement?.dataset?.sort;
    byId("rows").tHead.rows[0].replaceChildren(...head);
    if (focused) head[rows.names.indexOf(focused)].firstChild.focus();
    const body = listed.slice((page - 1) * PAGE, page * PAGE).map((row) => {
      const line = document.createElement("tr");
      for (const name of rows.names) {
        const value = rows.value(name, row);
        let content = lines(value);
        if (name === "image_name" && viewer.has(value)) {
          content = document.createElement("a");
          content.textContent = value;
          content.href = linkTo(value);
          content.dataset.browsed = value;
          linked(content, () => [...byId("rows").querySelectorAll("[data-browsed]")].map(nameOf));
        }
        const made = cell(name === "image_name" ? "th" : "td", content);
        if (name === "image_name") made.scope = "row";
        else if (numeric.has(name)) made.className = "number";
        else if (value.length > LONG) made.className = "long";
        line.append(made);
      }
      return line;
    });
    byId("rows").tBodies[0].replaceChildren(...body);
    byId("page-last").textContent = number(last);
    Object.assign(byId("page-number"), { value: page, max: last });
    byId("page-before").disabled = page === 1;
    byId("page-after").disabled = page === last;
    const of = listed.length < rows.rows ? ` of ${number(rows.rows)}` : "";
    count.textContent = `${number(listed.length)}${of} examples, page ${number(page)} of ${number(last)}.`;
  };

  const refresh = () => {
    const set = tests().length;
    byId("filters").firstElementChild.textContent = set ? `Filters (${set})` : "Filters";
    const table = state.get("show") === "table";
    byId("browse-pictures").hidden = table;
    byId("browse-table").hidden = !table;
    for (const button of browser.querySelectorAll("[data-show]")) {
      button.setAttribute("aria-pressed", String((button.dataset.show === "table") === table));
    }
    showPictures();
    if (table) showTable();
  };

  const follow = () => {
    readHash();
    refresh();
    const name = state.get("example");
    if (name) open(name, picturesFound());
    else if (viewer.open) viewer.close();
    if (state.size && !name) browser.scrollIntoView();
  };

  // The viewer turned to another example, or was closed: the focus goes to the last one, for who uses a keyboard.
  const changed = (name, last) => {
    set("example", name);
    remember();
    const links = [opener, ...document.querySelectorAll("[data-browsed], [data-example]")];
    links.find((link) => link && nameOf(link) === last && link.checkVisibility())?.focus();
  };

  for (const node of document.querySelectorAll("[data-scripted]")) node.hidden = false;
  byId("filters").open = matchMedia("(min-width: 40rem)").matches;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", changeFilters);
  form.addEventListener("reset", () => setTimeout(() => { state.delete("age"); changeFilters(); }));
  browser.addEventListener("click", ({ target }) => {
    const { show, sort } = target.dataset;
    if (show) { set("show", show === "table" && show); state.delete("page"); }
    if (sort) { set("sort", state.get("sort") === sort ? `-${sort}` : sort); state.delete("page"); }
    if (show || sort) { remember(); refresh(); }
  });
  byId("thumbs-more").addEventListener("click", () => {
    const first = shown;
    showMore();
    thumbs.children[first]?.firstChild.focus();
  });
  const toPage = (page) => { set("page", page > 1 && String(page)); remember(); showTable(); };
  const pageNumber = byId("page-number");
  byId("page-before").addEventListener("click", () => toPage(Number(pageNumber.value) - 1));
  byId("page-after").addEventListener("click", () => toPage(Number(pageNumber.value) + 1));
  pageNumber.addEventListener("change", () => toPage(Number(pageNumber.value)));

  loadTable("examples").then((table) => {
    examples = table;
    viewer = makeViewer(examples, linkTo, changed);
    // Those at the top of the page are among them.
    const featured = [...new Set([...document.querySelectorAll("main [data-example]")].map(nameOf))];
    for (const link of document.querySelectorAll("[data-example]")) linked(link, () => featured);
    // A link to a heading changes no filter.
    addEventListener("hashchange", () => { if (location.hash.length < 2 || location.hash.includes("=")) follow(); });
    follow();
  }, (error) => { count.textContent = `The examples are not there: ${error.message}.`; });
}
