import RequestQueue from "kafkajs/src/network/requestQueue/index.js";

/** As in kafkajs: how soon to look again at requests that wait although nothing throttles them. */
const CHECK_MS = 10;

/**
 * Mends kafkajs 2.2.4, which looks for waiting requests every millisecond for ever, even when none can be there: each
 * look schedules the next with a delay that is negative unless the broker throttles (tulios/kafkajs#1704, #1768).
 * A request that has to wait calls this itself, so without one there is nothing to look for.
 *
 * Done when the module is loaded, in each thread: the executable's bundle holds one copy of that class, and this is it.
 */
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
  if (this.pending.length === 0 || this.throttleCheckTimeoutId) return;
  const throttledMs = this.throttledUntil - Date.now();
  this.throttleCheckTimeoutId = setTimeout(
    () => {
      this.throttleCheckTimeoutId = null;
      this.checkPendingRequests();
    },
    throttledMs > 0 ? throttledMs : CHECK_MS,
  );
};
