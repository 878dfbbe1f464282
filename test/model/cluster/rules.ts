/** The rules of the cluster beyond the arithmetic. Each can be taken away on trial, and then the model must see something wrong. */
export const RULES = {
  // ---- outbox, log, gaps
  /** Kafka away: the outbox is fsync'd before an act is answered 202. */
  syncBeforeAnswer: true,
  /** Only what Kafka has or the disk holds for sure goes into Redis. */
  durableBeforePut: true,
  /** What is durable on this disk alone is answered 200 only once the ledger has been told that there is a spool. */
  spoolTold: true,
  /** … which it is not told to be over before Kafka has everything. */
  spoolUntilShipped: true,
  /** … also all that an earlier run left, whose rows the next one takes away. */
  oldSpoolUntilShipped: true,
  /** Each time it is told is another row: what was asked about the one before may be done later. */
  spoolRowsAnew: true,
  /** No end of the log is believed while there is a spool: acts that Redis has lost may be in it alone. */
  endAfterSpools: true,
  /** Spools are looked at before the log's end is read. */
  spoolsBeforeEnd: true,
  /** A send without an answer is sent again before anything behind it. */
  resendUnknown: true,
  /** What the ledger lacks is shipped again at the start. */
  shipAtStart: true,
  /** The outbox keeps what the ledger lacks, though Kafka has it. */
  trimBehindLedger: true,
  /** The last numbers of a source outlive the trimming of its records. */
  numbersKept: true,
  /** The ledger has read past a record's offset without it: sent again from there. */
  resendPassed: true,
  /** The log ends before a record's offset: sent again from there. */
  resendTruncated: true,
  /** The projector applies nothing behind a gap. */
  gapHolds: true,
  /** A group of amounts is in one message. */
  wholeGroups: true,
  // ---- projectors
  /** Numbers are read under the row lock of the transaction that applies. */
  lock: true,
  // ---- epochs
  /** Copies of another run of Redis are found out. */
  identity: true,
  /** An epoch is a name that never comes again. */
  uniqueEpoch: true,
  /** The log's end is read after the new epoch began, not after the loss was noticed. */
  openEnd: true,
  /** A node that sees a new epoch puts again what the ledger lacks. */
  replay: true,
  /** A put counts as made only in the epoch the node knows. */
  confirmEpoch: true,
  /** A quiet shard takes the partition's position at its own version. */
  settleQuiet: true,
  /** An end that lies behind the log's end (it lost its tail) is lowered. */
  lowerEnd: true,
  /** A look counts only in a settled shard. */
  lookSettled: true,
  // ---- answers
  /** A look reads the overlay first and the ledger second. */
  overlayFirst: true,
  /** A look takes the ledger's register too when the overlay has none. */
  putDecidesChanged: true,
  /** `changed` is claimed only where the put saw a settled shard. */
  changedNeedsSettled: true,
  /** A put that finds its record decided, or comes after one without an answer, claims nothing. */
  unknownClaimsNothing: true,
  /** The node's putter leaves alone what an act is still putting. */
  onePutter: true,
  /** Puts that failed are made later, though the act is answered. */
  putLater: true,
  // ---- acts that no copy shows
  /** Before such an act is answered the ledger is told of it. */
  unseenTold: true,
  /** … of the spool first, if it stands there: the log's end says nothing of it. */
  unseenBehindSpool: true,
  /** … until all of the outbox is in Redis or in the ledger. */
  unseenUntilPut: true,
  /** Whoever finds nothing to do asks whether anything is hidden from him. */
  unseenAsked: true,
  /** Then only a ledger that has come to the log's end tells him that there is nothing to do. */
  unseenApplied: true,
  /** Where nothing is he looks once more: it may have been put between his look and his question. */
  unseenFirst: true,
  // ---- what a node shows of tallies
  /** R is taken only where no note of this node was between outbox and confirmed put since the read began. */
  noteSequence: true,
  /** … counted from the note's append, not from the put's start. */
  sequenceFromAppend: true,
  /** A put's answer is taken as R only if no later note of the shard is in the outbox. */
  answerOnlyIfLast: true,
  /** … and then it belongs to the highest note that is confirmed, which need not be this one. */
  includedIsConfirmed: true,
  /** A put without an answer is made again; until then its outcome is unknown. */
  unknownStaysOdd: true,
  /** R is not taken from a shard behind a ledger version this node has read. */
  seenVersion: true,
  /** That version outlives the run (in the table's file). */
  versionsKept: true,
  /** Nothing is shown before what earlier runs owed is in Redis (or counted from the outbox). */
  putBeforeShow: true,
  /** A number from the ledger is completed by the outbox's notes of the same snapshot. */
  ledgerPlusOutbox: true,
  /** A number from the ledger is taken only where it is higher than what is shown: it lacks what others have on the way. */
  ledgerNeverLowers: true,
  // ---- registers that never were
  /** The filter takes in what a commit brought. */
  filterCovers: true,
  /** After a commit that the filter was not told of it is not believed. */
  filterGap: true,
  /** The ledger is read after the filling has begun. */
  fillReadsLate: true,
  /** What is filled when Redis loses data is filled again. */
  lossBreaksFilling: true,
  /** Bases that Redis came back with are gone where the ledger is further. */
  renewDropsBases: true,
  // ---- keys
  /** The overlay's entry is named by the key. */
  keyNames: true,
  /** A keyed put carries the version at which the ledger had no such key. */
  keyHint: true,
  /** What a commit or a catch-up says of keys drops their entries, whoever's record counted. */
  keysDrop: true,
  /** The ledger counts a key once. */
  ledgerKeys: true,
  // ---- sources that retire
  /** Only a source of which nothing was applied for longer than any put may take. */
  retireQuiet: true,
  /** What is put away is what the rows say when they go. */
  retireLocked: true,
  /** What was put away before stays, where a source retires again. */
  retireAdds: true,
  /** Redis forgets a number only if it is the one that was looked at: the source may have spoken since. */
  forgetOnlyThose: true,
  /** What Redis has is looked at before the ledger is asked which sources have no row. */
  fieldsFirst: true,
  /** The projector looks for a source without a row among the retired. */
  applyAsksRetired: true,
  /** … and looks at the rows first: one that goes in between is there by then. */
  rowsFirst: true,
  /** So does a node for what its outbox holds. */
  outboxAsksRetired: true,
  /** So does a catch-up, for every source of the overlay. */
  catchUpAsksRetired: true,
  /** … and does nothing where the overlay has others by now. */
  catchUpKnowsAll: true,
  /** What was appended long ago is put only after the ledger was asked whether it has it. */
  resendAsksFirst: true,
  /** A put that has not taken effect for long never does. */
  putsEnd: true,
  // ---- actors' hints
  /** A hint is written before its entry. */
  hintFirst: true,
  /** A hint is removed only up to the stamp the ledger has. */
  hintStamp: true,
  /** Lists read hints, then shards, then the ledger. */
  listOrder: true,
};

export type Rules = typeof RULES;
export type RuleName = keyof Rules;
