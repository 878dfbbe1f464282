import type { Admin } from "kafkajs";
import { StartError } from "../../errors.ts";
import { KafkaAway, KafkaLink, type KafkaSettings } from "./client.ts";
import { reasonOf } from "./errors.ts";
import { within } from "./wait.ts";

export const REQUEST_MS_MAX = 5_000;

/** What one connection of an administrator answers; ends it, whatever is under way. Throws KafkaAway where it is not answered. */
export async function withAdmin<T>(settings: KafkaSettings, ask: (admin: Admin) => Promise<T>): Promise<T> {
  const link = new KafkaLink(settings, REQUEST_MS_MAX);
  const admin = link.kafka.admin();
  try {
    await within(admin.connect(), REQUEST_MS_MAX);
    return await ask(admin);
  } catch (error) {
    if (error instanceof StartError || error instanceof KafkaAway) throw error;
    throw new KafkaAway(reasonOf(error), { cause: error });
  } finally {
    link.cut();
  }
}
