import { describe } from "bun:test";
import { type Deployment, useServer } from "../support/contract.ts";
import { access } from "./access.suite.ts";
import { admin } from "./admin.suite.ts";
import { at } from "./at.suite.ts";
import { bodies } from "./bodies.suite.ts";
import { cors } from "./cors.suite.ts";
import { counted } from "./counted.suite.ts";
import { distinct } from "./distinct.suite.ts";
import { events, eventsAccess } from "./events.suite.ts";
import { history } from "./history.suite.ts";
import { http } from "./http.suite.ts";
import { ids } from "./ids.suite.ts";
import { lists } from "./lists.suite.ts";
import { once } from "./once.suite.ts";
import { query } from "./query.suite.ts";
import { relations } from "./relations.suite.ts";
import { rules } from "./rules.suite.ts";
import { stats } from "./stats.suite.ts";
import { streams } from "./streams.suite.ts";
import { tallies } from "./tallies.suite.ts";
import { top, topAfterAdmin } from "./top.suite.ts";
import { uploadVisitors } from "./upload-visitors.suite.ts";
import { uploads } from "./uploads.suite.ts";
import { webhooks } from "./webhooks.suite.ts";

/** Everything that HTTP promises. */
export function wholeContract(deployment: Deployment): void {
  describe(deployment.name, () => {
    const api = useServer(deployment);
    events(api);
    counted(api);
    uploads(api);
    http(api);
    bodies(api);
    ids(api);
    history(api);
    lists(api);
    once(api);
    query(api);
    relations(api);
    streams(api);
    stats(api);
    tallies(api);
    at(api);
    admin(api, deployment);
    top(api);
    topAfterAdmin(api);
    access(deployment);
    rules(deployment);
    if (deployment.nodes === 1) cors(deployment);
    webhooks(deployment);
    eventsAccess(deployment);
    distinct(deployment);
    uploadVisitors(deployment);
  });
}

/** What goes through the stores. */
export function storedContract(deployment: Deployment): void {
  describe(deployment.name, () => {
    const api = useServer(deployment);
    http(api);
    // Before others like as those with the odd ids.
    ids(api);
    // Before actors are erased: what comes of them with an earlier time stays out.
    at(api);
    admin(api, deployment);
    history(api);
    events(api);
    counted(api);
    uploads(api);
    lists(api);
    once(api);
    query(api);
    relations(api);
    streams(api);
    tallies(api);
    top(api);
    topAfterAdmin(api);
    rules(deployment);
    distinct(deployment);
    uploadVisitors(deployment);
  });
}
