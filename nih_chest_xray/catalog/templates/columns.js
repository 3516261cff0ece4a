// Tables that columns.py wrote, as scripts: a page at a file:// address may load no other data.
const loadTable = (() => {
  const waiting = new Map();

  class Table {
    constructor({ rows, columns }) {
      this.rows = rows;
      this.columns = columns;
      this.names = Object.keys(columns);
    }

    code(name, row) {
      const { codes } = this.columns[name];
      return codes ? codes[row] : row;
    }

    value(name, row) {
      return this.columns[name].values[this.code(name, row)];
    }

    // The rows for which every test, a pair of a column's name and a function of its values, holds.
    matching(tests) {
      let found = Array.from({ length: this.rows }, (_, row) => row);
      for (const [name, test] of tests) {
        const holds = this.columns[name].values.map(test);
        found = found.filter((row) => holds[this.code(name, row)]);
      }
      return found;
    }
  }

  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Table(JSON.parse(await new Response(text).text()));
  };

  globalThis.catalogTable = (name, packed) => waiting.get(name)(unpack(packed));

  return (name) => new Promise((resolve, reject) => {
    waiting.set(name, resolve);
    const script = document.createElement("script");
    script.src = `examples/${name}.js`;
    script.addEventListener("error", () => reject(new Error(`${script.src} cannot be loaded`)));
    document.head.append(script);
  });
})();
