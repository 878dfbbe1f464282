/** A part of a node that can be down on its own, as /readyz tells it. */
export interface NodePart {
  status: "up" | "down";
  /** ISO 8601: since when it is down. */
  since?: string;
  detail?: string;
}

/** What a node tells the process that it is in. */
export interface NodeEvents {
  /** What `parts` says has changed. */
  changed(): void;
  /** A thread without which nothing is safe has ended, or (StartError) the start took for true what is not: the process must end. */
  broken(error: unknown): void;
  /** The start takes long: it waits for these parts, as far as they are down. Called whenever that changes. */
  waits?(parts: Record<string, NodePart>): void;
  /** Aborted when the process is to stop, also before it has started: nobody waits for stores any longer then. */
  stopping?: AbortSignal;
}
