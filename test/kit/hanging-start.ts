/** A router's worker thread that hangs while it starts: as soon as it is told from what. */
import { stay } from "./stay.ts";

declare const self: Worker;

self.onmessage = () => stay(60_000);
