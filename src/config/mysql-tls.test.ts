import { expect, test } from "bun:test";
import { tlsOfMysql } from "./mysql-tls.ts";
import { mysqlUrl } from "./schemas.ts";

const URL_BASE = "mysql://u:p@h/d";
const said = (query: string) => tlsOfMysql(new URL(URL_BASE + query));

test("TLS is asked for with true, or with the driver's options; the host's name is verified unless they say otherwise", () => {
  expect(said("")).toBeNull();
  expect(said("?ssl=true")).toEqual({ verifyIdentity: true });
  expect(said('?ssl={"rejectUnauthorized":true}')).toEqual({ verifyIdentity: true, rejectUnauthorized: true });
  expect(said('?ssl={"verifyIdentity":false}')).toEqual({ verifyIdentity: false });
});

test.each([
  "?ssl=",
  "?ssl=false",
  "?ssl=required",
  "?ssl=[]",
  "?ssl={",
  "?ssl-mode=REQUIRED",
  "?ssl=true&charset=latin1",
])("%s is no setting: what it asks for would not be done", (query) => {
  expect(mysqlUrl.safeParse(URL_BASE + query).error?.issues[0]?.message).toBe(
    "must be mysql://user:password@host/database, with ?ssl=true behind it for TLS",
  );
});

test.each(["", "?ssl=true", '?ssl={"rejectUnauthorized":true}'])("%p is one", (query) => {
  expect(mysqlUrl.parse(URL_BASE + query)).toBe(URL_BASE + query);
});
