/** The rules of the embedded server. Each can be taken away on trial, and then the model must see a wrong count. */
export const RULES = {
  // ---- the counter table and its flusher
  /** A note is in the log before `noted` moves. */
  noteFirst: true,
  /** Recovery takes `noted` from the slot's last note in the log before it looks at what is owed. */
  redo: true,
  /** What is owed after a crash goes out under the source of the table it stands in. */
  sameSource: true,
  /** A recovered table is replaced in one step, not emptied in place. */
  freshTable: true,
  /** `adds` and `noted` run on when a slot gets another counter. */
  wordsRunOn: true,
  /** Adds wait where the flusher has half a word to note. */
  room: true,
  /** The flusher folds `mark` before the word comes round. */
  fold: true,
  /** Readers see a fold as one step. */
  foldSequence: true,
  /** Folded before `noted` moves, which is what lets more adds in. */
  foldFirst: true,
  /** A worker sets the dirty bit after its add; the flusher clears it before it reads. */
  dirtyOrder: true,
  /** When a worker dies, every slot is looked at. */
  scanAfterDeath: true,
  /** One flush at a time. */
  oneFlush: true,
  /** The log keeps the notes that `noted` has not reached. */
  trimBehindNoted: true,
  // ---- claiming, loading, leaving
  /** Looking for a counter and publishing a slot for it are one step. */
  oneSlot: true,
  /** Who loads a slot claims that first. */
  claimLoad: true,
  /** A dead worker's claims on loading are taken back. */
  unclaimAfterDeath: true,
  /** A first reading after a crash adds what the log has and the ledger has not. */
  tail: true,
  /** A worker takes a leaving slot back before it adds. */
  rescueBeforeAdd: true,
  /** The writer takes a leaving slot back before it appends. */
  rescueBeforeAppend: true,
  /** Everyone who saw the slot before it was marked is waited for. */
  quietBeforeCheck: true,
  /** Everyone who saw the slot before it was unlinked is waited for. */
  quietBeforeReuse: true,
  /** The writer is waited for as the workers are. */
  writerCounts: true,
  /** Readers are waited for too. */
  readersCount: true,
  /** Who has read the ledger for want of a slot looks for one again. */
  lookAgain: true,
  /** A slot stays until the ledger has all that the log held. */
  waitForLedger: true,
  /** Rescue or death: one compare-and-swap decides. */
  casDecides: true,
  // ---- relations
  /** Records are published after they are durable. */
  publishAfterAppend: true,
  /** An answer comes after its records are published. */
  answerAfterPublish: true,
  /** The second act of a batch sees the first. */
  batchSeesItself: true,
  /** A frame that failed gives its numbers back. */
  numbersBack: true,
  /** The clock starts above everything in log and ledger. */
  clockStartsAbove: true,
  /** A generation is cleared when the ledger has committed its last record, not when the projector has read it. */
  clearAfterCommit: true,
  /** Only the writer clears, between batches. */
  writerClears: true,
  /** A reader drops what it found in a generation that was cleared meanwhile. */
  generationNumber: true,
  /** Readers look at the overlay first and the ledger second. */
  overlayFirst: true,
  /** Generations are read from the newest to the oldest … */
  readNewestFirst: true,
  /** … and cleared from the oldest to the newest. */
  clearOldestFirst: true,
  /** A full overlay refuses before the append. */
  roomBeforeAppend: true,
  /** The projector tells the Bloom filter before it commits. */
  bloomBeforeCommit: true,
  /** A list is cut after overlay and ledger are one. */
  cutAfterMerge: true,
  /** An inactive overlay entry hides its row. */
  tombstonesHide: true,
  // ---- keys
  /** Keys come back from the log's tail, not from the ledger alone. */
  keysFromTail: true,
  /** A keyed act is a record even where it changes nothing. */
  keyedAlways: true,
};

export type Rules = typeof RULES;
export type RuleName = keyof Rules;
