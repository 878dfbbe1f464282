import { usageError } from "../config/arguments.ts";

/** What a row of a table can say. */
const FIELDS = ["metric", "subject", "actor", "count", "active", "at"] as const;
type Field = (typeof FIELDS)[number];

/** Text and the places of columns in it, alternating: `article/{id}` is ["article/", place of id, ""]. */
type Template = readonly (string | number)[];

const PART = /(\S+?)=((?:\{[^{}]*\}|[^\s{}])*)(?:\s+|$)/y;

/**
 * How the columns of a table become fields: `metric=views subject=article/{post_id} count={views}`. What stands in braces is a
 * column by its name in the first row, or by its number from 1; the rest is taken as it is.
 */
export class Mapping {
  readonly #templates: ReadonlyMap<Field, string>;

  constructor(text: string) {
    const templates = new Map<Field, string>();
    const map = text.trim();
    PART.lastIndex = 0;
    for (let at = 0; at < map.length; at = PART.lastIndex) {
      const [, name = "", template = ""] = PART.exec(map) ?? [];
      if (name === "") throw usageError(`--map cannot be read at ${JSON.stringify(map.slice(at))}: ${EXAMPLE}`);
      if (!isField(name)) throw usageError(`--map has no ${name}; there are: ${FIELDS.join(", ")}`);
      if (templates.has(name)) throw usageError(`--map has ${name} twice`);
      templates.set(name, template);
    }
    for (const name of ["metric", "subject"] as const)
      if (!templates.has(name)) throw usageError(`--map lacks ${name}: ${EXAMPLE}`);
    this.#templates = templates;
  }

  /** The same for the same meaning: part of what an import is known by. */
  get name(): string {
    return FIELDS.map((field) => `${field}=${this.#templates.get(field) ?? ""}`).join(" ");
  }

  /** For the columns of a table; `names` is its first row, null where that is data already. */
  bind(names: readonly string[] | null, width: number): RowReader {
    const bound = new Map<Field, Template>();
    for (const [field, template] of this.#templates) {
      // What stood in braces is at the odd places.
      bound.set(
        field,
        template.split(/\{([^{}]*)\}/).map((part, i) => (i % 2 === 0 ? part : place(part, names, width))),
      );
    }
    return (row, field) => {
      const template = bound.get(field);
      if (template === undefined) return undefined;
      let text = "";
      for (const part of template) text += typeof part === "string" ? part : (row[part] ?? "");
      return text;
    };
  }
}

/** What the row says in the field; undefined where the mapping has none. */
export type RowReader = (row: readonly string[], field: Field) => string | undefined;

const EXAMPLE = "it is like 'metric=views subject=article/{post_id} count={views}'";

function place(column: string, names: readonly string[] | null, width: number): number {
  const named = names?.indexOf(column) ?? -1;
  if (named >= 0) return named;
  const number = /^[1-9]\d*$/.test(column) ? Number(column) : 0;
  if (number >= 1 && number <= width) return number - 1;
  const known = names ? names.map((name) => JSON.stringify(name)).join(", ") : `1 to ${width}`;
  throw usageError(`--map names the column ${JSON.stringify(column)}; there are: ${known}`);
}

function isField(name: string): name is Field {
  return (FIELDS as readonly string[]).includes(name);
}
