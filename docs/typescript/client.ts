/** The HTTP API, typed by its own description: `npm run generate` makes schema.d.ts of docs/openapi.json. */
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type Job = components["schemas"]["JobOut"];
export type Problem = components["schemas"]["Problem"];

export function platform(baseUrl: string, token: string) {
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
}

/** The data of an answer; throws the problem (RFC 9457) where it is one. */
export function accepted<Data>({ data, error }: { data?: Data; error?: unknown }): Data {
  if (data === undefined) {
    const problem = error as Problem;
    throw new Error(`${problem.title}: ${problem.detail} ${JSON.stringify(problem.errors ?? [])}`);
  }
  return data;
}
