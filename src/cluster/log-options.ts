import type { Settings } from "../config.ts";
import { StartError } from "../errors.ts";
import { logTopic } from "./kafka/client.ts";
import type { ProducerOptions } from "./kafka/producer.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { fatal } from "./log-tell.ts";

/**
 * How a node's thread talks to the log's topic: one that is lost is made again, and one that has not the number of partitions the
 * node counts with ends the thread. Only the next start can divide anew what is in the outbox.
 */
export function logOptions(settings: Settings, partitions: number): ProducerOptions {
  const topic = logTopic(settings.prefix);
  const other = (found: number) => {
    fatal(
      new StartError(
        `Kafka's topic ${topic} has ${found} partitions, and this node was started with ${partitions}: nothing was sent ` +
          "there. Start it again: it takes the topic's number, and goes on with what its outbox holds",
      ),
    );
  };
  return { topic, isQuiet: true, onMissing: () => ensureTopics(settings), partitions: { expected: partitions, other } };
}
