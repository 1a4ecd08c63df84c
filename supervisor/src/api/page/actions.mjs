/**
 * The actions on a job, and their requests.
 */

import { getJson, request } from "./api.mjs";
import { confirmed } from "./dialogs.mjs";
import { hasEnded, titleOf } from "./state.mjs";

/**
 * @typedef {"hold" | "end" | "retry"} ButtonKind a button in a job's row; its action depends on the job's state
 * @typedef {{ label: string, act: (job: any) => Promise<any> }} Action
 */

/** @type {Record<string, Action>} */
const ACTIONS = {
  pause: { label: "Pause", act: (job) => getJson(`/v1/jobs/${job.id}/pause`, { method: "POST" }) },
  resume: { label: "Resume", act: (job) => getJson(`/v1/jobs/${job.id}/resume`, { method: "POST" }) },
  retry: { label: "Retry failed", act: (job) => getJson(`/v1/jobs/${job.id}/retry-failed`, { method: "POST" }) },
  cancel: { label: "Cancel", act: cancel },
  remove: { label: "Remove", act: remove },
};

/** @param {any} job @returns {Record<ButtonKind, Action | null>} */
export function actionsFor(job) {
  const ended = hasEnded(job);
  const holds = { queued: ACTIONS.pause, running: ACTIONS.pause, paused: ACTIONS.resume };
  return {
    hold: holds[/** @type {keyof typeof holds} */ (job.state)] ?? null,
    retry: ended && job.counts.failed > 0 ? ACTIONS.retry : null,
    end: ended ? ACTIONS.remove : ACTIONS.cancel,
  };
}

/** @param {any} job */
async function cancel(job) {
  const yes = await confirmed({
    title: `Cancel ${titleOf(job)}?`,
    text: "Inputs in flight are finished, and all records are kept. The job cannot be resumed.",
    yes: "Cancel the job",
    no: "Keep it running",
  });
  if (yes) await request(`/v1/jobs/${job.id}`, { method: "DELETE" });
}

/** @param {any} job */
async function remove(job) {
  const yes = await confirmed({
    title: `Remove ${titleOf(job)}?`,
    text: `The job and its ${job.counts.done ? "records are" : "files are"} deleted from the service.`,
    yes: "Remove it",
    no: "Keep it",
  });
  if (yes) await request(`/v1/jobs/${job.id}`, { method: "DELETE" });
}
