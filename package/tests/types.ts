/** Read by tsc and run by nobody: the declarations say what the code does and what the page's contract says. */

import type * as Contract from "../../web/src/contract.js";
import type * as Messages from "../../web/src/messages.js";
import type * as Declared from "../src/index.d.ts";
import type { PRIVACY_KEYS, TRAINING_KEYS } from "../src/options.js";
import { createClient, CutlayerError } from "../src/index.js";

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Fits<A, B> = [A] extends [B] ? true : false;
const holds = <T extends true>() => {};

// The shapes that cross the boundary are those of the page, both ways.
type Equal<A, B> = Fits<A, B> extends true ? Fits<B, A> : false;
holds<Equal<Declared.Mechanism, Contract.Mechanism>>();
holds<Equal<Declared.DatasetReport, Contract.DatasetReport>>();
holds<Equal<Declared.Privacy, Contract.Privacy>>();
holds<Equal<Declared.Preview, Contract.Preview>>();
holds<Equal<Declared.Prediction, Contract.Prediction>>();
holds<Equal<Declared.Catalogue, Contract.Catalogue>>();
holds<Equal<Declared.Traffic, Contract.Traffic>>();
holds<Equal<Declared.Columns, Contract.Columns>>();
holds<Equal<Declared.Contribution, Contract.Contribution>>();
holds<Fits<Declared.ValidationEvent, Contract.Validation>>();
holds<Fits<Declared.TrainingOptions, Contract.TrainOptions>>();

// What is sorted at run time is what is declared.
holds<Same<(typeof PRIVACY_KEYS)[number], keyof Declared.ProtectionOptions>>();
holds<Same<(typeof TRAINING_KEYS)[number], keyof Declared.TrainingOptions>>();
holds<Fits<InstanceType<typeof Messages.CallError>, Declared.CutlayerError>>();

// What a caller writes.
export async function caller(file: File) {
  const client = createClient({ server: "https://train.example.org", model: "m", device: "cpu" });
  const { mechanisms } = await client.options();
  const run = client.train(file, { mechanism: mechanisms[0].name, protection: 0.3, epochs: 2 });
  for await (const event of run) {
    if (event.type === "step") event.merged satisfies number;
    // @ts-expect-error a step has no accuracy
    if (event.type === "step") event.accuracy;
  }
  (await run.result).validation?.accuracy satisfies number | undefined;
  await client.predict(["one", ["two", "parts"]]);
  // @ts-expect-error no such option
  client.train(file, { epoch: 2 });
  // @ts-expect-error no such device
  createClient({ server: "", device: "tpu" });
  try {
    await client.preview(file, { examples: 2, columns: { text: "review" } });
  } catch (error) {
    if (error instanceof CutlayerError) error.name satisfies string;
  }
}
