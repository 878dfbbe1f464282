import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "mysql",
  schema: "./src/cluster/mysql/schema.ts",
  out: "./drizzle/mysql",
});
