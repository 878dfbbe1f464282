// Upstash's REST API before a Redis: `upstash-process.ts PORT REDIS_URL TOKEN`.
import { createApp } from "@humanwhocodes/upstash-redis-server";
import { HOST } from "./ports.ts";

const [port = "", redisUrl = "", token = ""] = process.argv.slice(2);
Bun.serve({ hostname: HOST, port: Number(port), fetch: createApp({ token, redisUrl }).fetch });
