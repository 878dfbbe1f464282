import { expect, test } from "bun:test";
import { codeOf, codeOfRegister } from "../distinct/code.ts";
import { Sketch, SPARSE_MAX } from "../distinct/sketch.ts";
import { codesOf } from "./sketch-codes.ts";

function again(sketch: Sketch): Sketch {
  const copy = new Sketch();
  for (const code of codesOf(sketch)) copy.add(code);
  return copy;
}

test("the codes of a sketch make it again, to the byte", () => {
  for (const visitors of [0, 1, 100, SPARSE_MAX, SPARSE_MAX + 1, SPARSE_MAX + 500, 20_000, 200_000]) {
    const sketch = new Sketch();
    for (let i = 0; i < visitors; i++) sketch.add(codeOf(`visitor ${i}`));
    expect(again(sketch).isDense, `${visitors}`).toBe(sketch.isDense);
    expect(again(sketch).encode(), `${visitors}`).toEqual(sketch.encode());
  }
});

test("a dense sketch of few registers, too", () => {
  const sketch = new Sketch();
  // More places than a sparse one has, of four registers.
  for (let register = 0; register < 4; register++)
    for (let place = 0; place < 2 ** 11; place++)
      sketch.add((register * 2 ** 11 + place) * 64 + (place === 0 ? 40 : 0));
  sketch.add(codeOfRegister(3, 51));
  expect(sketch.isDense).toBeTrue();
  expect(again(sketch).encode()).toEqual(sketch.encode());
});
