// In the executable every module says that it lies where its bundle begins, so a path relative to one's own file is
// right from source and wrong compiled. scripts/build.ts lays the entries out below this root as they lie below src.
const ENTRIES = Bun.isStandaloneExecutable ? new URL("file:///$bunfs/root/") : new URL("../", import.meta.url);

/** Where a thread starts, for `new Worker()`: a path under src that is an entry in scripts/build.ts. */
export function threadEntry(path: string): URL {
  return new URL(path, ENTRIES);
}
