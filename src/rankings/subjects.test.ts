import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { SubjectIndex } from "./subjects.ts";

const TYPES = ["article", "user", "a"];
/** Alike in their first bytes, or in all but the last one; one is the beginning of another; of more than one byte a character. */
const IDS = ["1", "12", "aaaaaa1", "aaaaaa2", "aaaaaa", "é", "😀", "zz"];

test.each([1, 2, 3])("subjects keep their names, types and order, whichever of them stay (seed %d)", (seed) => {
  const dice = random(seed);
  const index = new SubjectIndex();
  let model: string[] = [];
  const add = (subject: string) => {
    const bytes = Buffer.from(`/${subject}/`);
    const known = model.indexOf(subject);
    const number = index.add(bytes, 1, bytes.length - 1);
    expect(number).toBe(known < 0 ? model.length : known);
    if (known < 0) model.push(subject);
  };
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 800; i++)
      add(`${dice.pick(TYPES)}/${dice.pick(IDS)}${dice.chance(0.8) ? dice.below(3_000) : ""}`);
    const staying = [...model.keys()].filter(() => dice.chance(0.6));
    const gone = model.filter((_, number) => !staying.includes(number));
    index.keep(Uint32Array.from(staying));
    model = staying.map((number) => model[number] as string);
    expect(index.size).toBe(model.length);
    for (const subject of gone) expect(index.find(Buffer.from(subject), 0, Buffer.byteLength(subject))).toBe(-1);
    for (const [number, subject] of model.entries()) {
      expect(index.subject(number)).toBe(subject);
      expect(index.find(Buffer.from(subject), 0, Buffer.byteLength(subject))).toBe(number);
      expect(index.types[number]).toBe(index.type(subject.slice(0, subject.indexOf("/"))));
    }
    for (const type of TYPES) {
      const those = [...model.keys()].filter((number) => model[number]?.startsWith(`${type}/`));
      const inOrder = those.toSorted((a, b) =>
        Buffer.compare(Buffer.from(model[a] as string), Buffer.from(model[b] as string)),
      );
      expect(those.toSorted((a, b) => index.compare(a, b))).toEqual(inOrder);
    }
  }
});

test("there may be more subjects than were expected", () => {
  // Columns of more than 2^16 numbers are at once as long as expected, and then grow by a quarter.
  const index = new SubjectIndex(70_000);
  const bytes = (n: number) => Buffer.from(`article/${n}`);
  for (let n = 0; n < 100_000; n++) expect(index.add(bytes(n), 0, bytes(n).length)).toBe(n);
  for (let n = 0; n < 100_000; n += 997)
    expect([index.subject(n), index.find(bytes(n), 0, bytes(n).length)]).toEqual([`article/${n}`, n]);
});
