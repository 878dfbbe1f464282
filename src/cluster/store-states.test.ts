import { expect, test } from "bun:test";
import { StoreNews } from "./store-news.ts";
import { StoreStates } from "./store-states.ts";

const UP = { isUp: true, detail: "" };
const down = (detail: string) => ({ isUp: false, detail });

function recorded() {
  const said: string[] = [];
  const timers: (() => void)[] = [];
  const log = {
    warn: (msg: string, fields?: object) => void said.push(`warn ${msg} ${JSON.stringify(fields)}`),
    info: (msg: string) => void said.push(`info ${msg}`),
  };
  const later = (work: () => void) => void timers.push(work);
  const news = (parts: StoreStates["parts"]) => new StoreNews({ parts, log, later });
  const states = new StoreStates(() => undefined, news);
  return { states, said, pass: () => timers.shift()?.() };
}

test("a store that goes and comes is said once, whichever threads find it, and why at first", () => {
  const { states, said } = recorded();
  states.set("log", "redis", down("no answer"));
  states.set("projector", "redis", down("connection lost"));
  states.set("log", "redis", down("connect ECONNREFUSED"));
  states.set("log", "kafka", UP);
  states.set("log", "redis", UP);
  expect(said).toEqual(['warn Redis is away {"store":"redis","reason":"no answer"}']);
  states.set("projector", "redis", UP);
  expect(said.slice(1)).toEqual(["info Redis is back"]);
});

test("what the start has found holds until the log thread says anything else", () => {
  const { states, said } = recorded();
  states.set("start", "mysql", down("no greeting in time"));
  states.set("log", "mysql", down("no greeting in time"));
  expect(said).toEqual(['warn MySQL is away {"store":"mysql","reason":"no greeting in time"}']);
  states.set("log", "mysql", UP);
  expect(said.slice(1)).toEqual(["info MySQL is back"]);
});

test("a store that flaps is not said each time, and in the end the log has how it is", () => {
  const { states, said, pass } = recorded();
  const flap = () => {
    for (let i = 0; i < 1_000; i++) {
      states.set("log", "kafka", down(`away ${i}`));
      states.set("log", "kafka", UP);
    }
  };
  flap();
  expect(said).toEqual(['warn Kafka is away {"store":"kafka","reason":"away 0"}', "info Kafka is back"]);
  states.set("log", "kafka", down("at last"));
  expect(said).toHaveLength(2);
  pass();
  expect(said.slice(2)).toEqual(['warn Kafka is away {"store":"kafka","reason":"at last"}']);
  pass();
  states.set("log", "kafka", UP);
  flap();
  expect(said.slice(3)).toEqual([
    "info Kafka is back",
    'warn Kafka is away {"store":"kafka","reason":"away 0"}',
    "info Kafka is back",
  ]);
  pass();
  expect(said).toHaveLength(6);
});
