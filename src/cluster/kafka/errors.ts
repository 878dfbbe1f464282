/** What kafkajs hides: the protocol's name of an error, below its wrappers and in its collections. */
export function errorType(error: unknown): string | null {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 5; depth++) {
    const { type, errors, cause } = each as Error & { type?: unknown; errors?: unknown };
    if (typeof type === "string") return type;
    each = Array.isArray(errors) ? errors[0] : cause;
  }
  return null;
}

/** Which setting Kafka refuses, and what it says. */
export interface SaslRefusal {
  setting: "kafkaSasl" | "kafkaPassword";
  said: string;
}

const MECHANISM = /^SASL .* mechanism is not supported by the server$/;
const USER = /authentication failed: (.*(?:authentication failed|invalid credentials).*)$/i;

/**
 * What Kafka says of a user whom it does not let in; null for everything else. By the words: kafkajs gives the same class
 * to a connection that is lost while it asks, and keeps neither the code nor the cause.
 */
export function saslRefusal(error: unknown): SaslRefusal | null {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth++) {
    if (each.name !== "KafkaJSSASLAuthenticationError") continue;
    if (MECHANISM.test(each.message)) return { setting: "kafkaSasl", said: each.message };
    const said = USER.exec(each.message)?.[1];
    if (said !== undefined) return { setting: "kafkaPassword", said };
  }
  return null;
}

/** One line for people. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
