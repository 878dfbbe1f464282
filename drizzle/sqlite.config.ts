import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./src/embedded/schema.ts",
  out: "./drizzle/sqlite",
});
