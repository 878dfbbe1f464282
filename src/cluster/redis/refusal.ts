import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import { ANSWER_MS_MAX } from "./driver.ts";

/**
 * What a server says to a greeting, where Bun's client only says that the connection was closed: the first error line
 * (wrong password, loading, too many clients), or why nobody can be reached; null where it greets back.
 */
export function refusalAt(redisUrl: string): Promise<string | null> {
  const url = new URL(redisUrl);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || 6379);
  const words: string[][] = [];
  const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  if (password) words.push(["AUTH", ...(user ? [user] : []), password]);
  words.push(["PING"]);
  return new Promise((resolve) => {
    const tls = () => connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }) });
    const socket = url.protocol === "rediss:" ? tls() : connect({ host, port });
    const done = (answer: string | null) => {
      socket.destroy();
      resolve(answer);
    };
    let said = "";
    socket.setTimeout(ANSWER_MS_MAX, () => done(`${host}:${port} does not answer`));
    socket.on("error", (error) => done(error.message));
    socket.on("close", () => done("the server closed the connection"));
    socket.on("data", (bytes) => {
      said += bytes.toString();
      const refused = /^-(.*)\r\n/m.exec(said);
      if (refused) done(refused[1] ?? "");
      else if (said.includes("+PONG")) done(null);
    });
    socket.write(words.map(encode).join(""));
  });
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
}
